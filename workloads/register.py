"""Workload `register`: reads, blind writes of unique values and, where the system has them, compare-and-sets, on many
keys. Is every register linearizable?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import KeyValue
from harness.generators import Context, Generator, Rate, Repeat
from harness.settings import Setting
from harness.system import offered
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, fail, ok
from workloads.keys import Keys, ReadAll
from workloads.store_client import StoreClient


class Register:
    description = "reads and writes of unique values: is each register linearizable?"
    requires = frozenset({"key-value"})
    settings: tuple[Setting, ...] = (
        Setting(name="register.keys", default=5, minimum=1, scope="workload", doc="Keys in use at a time"),
        Setting(
            name="register.ops.per.key",
            default=200,
            minimum=1,
            scope="workload",
            doc="Operations after which a key is replaced by a fresh one",
        ),
        Setting(
            name="register.read.share",
            default=0.5,
            minimum=0.0,
            maximum=1.0,
            scope="workload",
            doc="Share of reads",
        ),
        Setting(
            name="register.cas.share",
            default=0.2,
            minimum=0.0,
            maximum=1.0,
            scope="workload",
            doc="Share of compare-and-sets, where the configuration has them",
        ),
    )
    checkers: tuple[str, ...] = ("linearizable", "sessions", "availability")
    default_rate = 100.0
    default_concurrency = 10

    def __init__(self) -> None:
        self._keys = Keys("r", 1, 1)
        self._values = 0
        self._seen: dict[str, Any] = {}

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        names = tuple(f"r{number}" for number in range(int(config["register.keys"])))
        return {"replicas": names, "owner": names}

    async def setup(self, test: Test) -> None:
        config = test.config
        self._keys = Keys("r", int(config["register.keys"]), int(config["register.ops.per.key"]))
        self._values = 0
        self._seen = {}

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: KeyValue = test.system.client("key-value", test.cluster, host, test.config)

        async def read(op: Invocation) -> Completion:
            value, version = await store.get(str(op.key))
            self._seen[str(op.key)] = value
            return ok(value) if version is None else ok(value, version=version)

        async def write(op: Invocation) -> Completion:
            version = await store.put(str(op.key), op.value)
            self._seen[str(op.key)] = op.value
            return ok(op.value) if version is None else ok(op.value, version=version)

        async def cas(op: Invocation) -> Completion:
            old, new = op.value
            if not await store.compare_and_set(str(op.key), old, new):
                return fail("it held something else")
            self._seen[str(op.key)] = new
            return ok(op.value)

        return StoreClient({"read": read, "final-read": read, "write": write, "cas": cas}, store)

    def generator(self, test: Test) -> Generator:
        share = float(test.config["register.read.share"])
        swaps = "compare-and-set" in offered(test.system, test.config)
        swapping = float(test.config["register.cas.share"]) if swaps else 0.0

        def make(context: Context) -> Invocation:
            key = self._keys.draw(context.random)
            drawn = context.random.random()
            if drawn < share:
                return Invocation(f="read", key=key)
            self._values += 1
            if drawn < share + swapping:
                return Invocation(f="cas", key=key, value=[self._seen.get(key), self._values])
            return Invocation(f="write", key=key, value=self._values)

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("read", self._keys.used)
