"""Workload `kv-delete`: keys are written, deleted and written again. Does what was deleted come back?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import KeyValue
from harness.generators import Context, Generator, Rate, Repeat
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.keys import Keys, ReadAll
from workloads.store_client import StoreClient


class KvDelete:
    description = "writes, deletes and reads: does what was deleted come back?"
    requires = frozenset({"key-value"})
    settings: tuple[Setting, ...] = (
        Setting(name="delete.keys", default=12, minimum=1, scope="workload", doc="Keys in use at a time"),
        Setting(
            name="delete.ops.per.key",
            default=12,
            minimum=1,
            scope="workload",
            doc="Operations after which a key is replaced by a fresh one",
        ),
    )
    checkers = ("deletes", "availability")
    default_rate = 60.0
    default_concurrency = 8

    def __init__(self) -> None:
        self._keys = Keys("d", 1, 1)
        self._values = 0

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"replicas": tuple(f"d{number}" for number in range(int(config["delete.keys"])))}

    async def setup(self, test: Test) -> None:
        self._keys = Keys("d", int(test.config["delete.keys"]), int(test.config["delete.ops.per.key"]))
        self._values = 0

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: KeyValue = test.system.client("key-value", test.cluster, host, test.config)

        async def write(op: Invocation) -> Completion:
            await store.put(str(op.key), op.value)
            return ok(op.value)

        async def delete(op: Invocation) -> Completion:
            await store.delete(str(op.key))
            return ok()

        async def read(op: Invocation) -> Completion:
            return ok((await store.get(str(op.key))).value)

        return StoreClient({"write": write, "delete": delete, "read": read, "final-read": read}, store)

    def generator(self, test: Test) -> Generator:
        def make(context: Context) -> Invocation:
            key = self._keys.draw(context.random)
            drawn = context.random.random()
            if drawn < 0.3:
                return Invocation(f="read", key=key)
            if drawn < 0.6:
                return Invocation(f="delete", key=key)
            self._values += 1
            return Invocation(f="write", key=key, value=self._values)

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("final-read", self._keys.used)
