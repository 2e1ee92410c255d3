"""Workload `counter`: increments and reads. `counter.style=rmw` reads and writes a register instead of asking the
store to count, and `counter.retry` sends an increment again whose answer was lost: the two classic mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import Counters, DefiniteFailure, KeyValue
from harness.errors import UserError
from harness.generators import Context, Generator, Rate, Repeat
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.keys import ReadAll
from workloads.store_client import StoreClient

RETRIES = 5


class Counter:
    description = "increments and reads of counters"
    requires = frozenset({"counters", "key-value"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="counter.style",
            default="native",
            choices=("native", "rmw"),
            scope="workload",
            doc="The store adds, or the client reads and writes",
        ),
        Setting(
            name="counter.retry",
            default=False,
            scope="workload",
            doc="An increment without an answer is sent again",
        ),
        Setting(name="counter.keys", default=3, minimum=1, scope="workload", doc="Counters"),
    )
    checkers = ("counter", "availability")
    default_rate = 60.0
    default_concurrency = 8

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        if config["counter.style"] == "rmw" and config["counter.retry"]:
            raise UserError("counter.retry belongs to counter.style=native: give one of the two mistakes")

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"replicas": tuple(_names(config))}

    async def setup(self, test: Test) -> None:
        return None

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        if test.config["counter.style"] == "rmw":
            return _by_register(test.system.client("key-value", test.cluster, host, test.config))
        return _native(
            test.system.client("counters", test.cluster, host, test.config),
            RETRIES if test.config["counter.retry"] else 0,
        )

    def generator(self, test: Test) -> Generator:
        names = _names(test.config)

        def make(context: Context) -> Invocation:
            key = context.random.choice(names)
            if context.random.random() < 0.4:
                return Invocation(f="read", key=key)
            return Invocation(f="add", key=key, value=context.random.randint(1, 5))

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("final-read", _names(test.config))


def _native(store: Counters, retries: int) -> StoreClient:
    async def add(op: Invocation) -> Completion:
        for _ in range(retries):
            try:
                await store.add(str(op.key), int(op.value))
                return ok(op.value)
            except DefiniteFailure:
                raise
            except Exception:
                continue
        await store.add(str(op.key), int(op.value))
        return ok(op.value)

    async def read(op: Invocation) -> Completion:
        return ok(await store.value(str(op.key)))

    return StoreClient({"add": add, "read": read, "final-read": read}, store)


def _by_register(store: KeyValue) -> StoreClient:
    async def add(op: Invocation) -> Completion:
        try:
            held = (await store.get(str(op.key))).value or 0
        except Exception as error:
            raise DefiniteFailure(f"the read before the write: {error}") from None
        await store.put(str(op.key), held + int(op.value))
        return ok(op.value)

    async def read(op: Invocation) -> Completion:
        return ok((await store.get(str(op.key))).value or 0)

    return StoreClient({"add": add, "read": read, "final-read": read}, store)


def _names(config: Mapping[str, Any]) -> list[str]:
    return [f"c{number}" for number in range(int(config["counter.keys"]))]
