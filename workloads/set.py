"""Workload `set`: elements are added to sets that the store merges itself, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import Sets
from harness.generators import Context, Generator, Rate, Repeat
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.keys import Keys, ReadAll
from workloads.store_client import StoreClient


class SetWorkload:
    description = "elements added to sets that the store merges: is every acknowledged one there in the end?"
    requires = frozenset({"sets"})
    settings: tuple[Setting, ...] = (
        Setting(name="set.keys", default=4, minimum=1, scope="workload", doc="Sets in use at a time"),
        Setting(
            name="set.ops.per.key",
            default=100,
            minimum=1,
            scope="workload",
            doc="Operations after which a set is replaced by a fresh one",
        ),
    )
    checkers: tuple[str, ...] = ("set-full", "availability")
    default_rate = 60.0
    default_concurrency = 8

    def __init__(self) -> None:
        self._keys = Keys("s", 1, 1)
        self._values = 0

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"replicas": tuple(f"s{number}" for number in range(int(config["set.keys"])))}

    async def setup(self, test: Test) -> None:
        self._keys = Keys("s", int(test.config["set.keys"]), int(test.config["set.ops.per.key"]))
        self._values = 0

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: Sets = test.system.client("sets", test.cluster, host, test.config)

        async def add(op: Invocation) -> Completion:
            await store.add(str(op.key), str(op.value))
            return ok(op.value)

        async def read(op: Invocation) -> Completion:
            return ok(await store.members(str(op.key)))

        return StoreClient({"add": add, "read": read, "final-read": read}, store)

    def generator(self, test: Test) -> Generator:
        def make(context: Context) -> Invocation:
            key = self._keys.draw(context.random)
            if context.random.random() < 0.3:
                return Invocation(f="read", key=key)
            self._values += 1
            return Invocation(f="add", key=key, value=str(self._values))

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("final-read", self._keys.used)
