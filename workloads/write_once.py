"""Workload `write-once`: every key is written once. Is what was acknowledged there in the end?

Keys come in groups, told as sets: `add` writes one key of its group; `read`, meanwhile, and `final-read` read all of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import KeyValue
from harness.generators import Context, Generator, Rate, Repeat
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.keys import ReadAll
from workloads.store_client import StoreClient

GROUP = 20
"""Keys read by one operation."""


class WriteOnce:
    description = "keys that are written once: is what was acknowledged there in the end?"
    requires = frozenset({"key-value"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="write.once.read.share",
            default=0.05,
            minimum=0.0,
            maximum=1.0,
            scope="workload",
            doc="Share of reads of a group while others write",
        ),
    )
    checkers = ("set", "availability")
    default_rate = 60.0
    default_concurrency = 10

    def __init__(self) -> None:
        self._values = 0

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {}

    async def setup(self, test: Test) -> None:
        self._values = 0

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: KeyValue = test.system.client("key-value", test.cluster, host, test.config)

        async def add(op: Invocation) -> Completion:
            await store.put(f"w{op.value}", op.value)
            return ok(op.value)

        async def read(op: Invocation) -> Completion:
            first = int(str(op.key).removeprefix("w")) * GROUP
            held = [(await store.get(f"w{number}")).value for number in range(first, first + GROUP)]
            return ok([value for value in held if value is not None])

        return StoreClient({"add": add, "read": read, "final-read": read}, store)

    def generator(self, test: Test) -> Generator:
        share = float(test.config["write.once.read.share"])

        def make(context: Context) -> Invocation:
            if self._values and context.random.random() < share:
                return Invocation(f="read", key=f"w{context.random.randrange(self._values) // GROUP}")
            number = self._values
            self._values += 1
            return Invocation(f="add", key=f"w{number // GROUP}", value=number)

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("final-read", [f"w{group}" for group in range((self._values + GROUP - 1) // GROUP)])
