"""Workload `row`: two columns always written together. Is a row ever half of one write and half of another?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import Rows
from harness.generators import Context, Generator, Rate, Repeat
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.keys import Keys, ReadAll
from workloads.store_client import StoreClient

OPERATIONS = 60


class Row:
    description = "two columns always written together: is a row ever mixed?"
    requires = frozenset({"rows"})
    settings: tuple[Setting, ...] = (
        Setting(name="row.keys", default=3, minimum=1, scope="workload", doc="Rows in use at a time"),
    )
    checkers = ("rows", "availability")
    default_rate = 100.0
    default_concurrency = 10

    def __init__(self) -> None:
        self._keys = Keys("row", 1, 1)
        self._values = 0

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {}

    async def setup(self, test: Test) -> None:
        self._keys = Keys("row", int(test.config["row.keys"]), OPERATIONS)
        self._values = 0

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: Rows = test.system.client("rows", test.cluster, host, test.config)

        async def write(op: Invocation) -> Completion:
            await store.write(str(op.key), op.value)
            return ok(op.value)

        async def read(op: Invocation) -> Completion:
            held = await store.read(str(op.key))
            return ok(None if held is None else dict(held))

        return StoreClient({"write": write, "read": read, "final-read": read}, store)

    def generator(self, test: Test) -> Generator:
        def make(context: Context) -> Invocation:
            key = self._keys.draw(context.random)
            if context.random.random() < 0.4:
                return Invocation(f="read", key=key)
            self._values += 1
            # Neither column sorts as the other: two equal timestamps would mix them.
            row = {"a": f"{self._values}", "b": f"{context.random.randrange(1000)}-{self._values}"}
            return Invocation(f="write", key=key, value=row)

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("final-read", self._keys.used)
