"""Workload `set-rmw`: a client reads a list, adds an element and writes it back. Registers lose updates so, unless the
write is conditional on what was read."""

from __future__ import annotations

from harness.capabilities import DefiniteFailure, KeyValue
from harness.settings import Setting
from harness.system import offered
from harness.workload import Client, Completion, Invocation, Test, fail, ok
from workloads.set import SetWorkload
from workloads.store_client import StoreClient

MOST_TRIES = 20


class SetRmw(SetWorkload):
    description = "sets by read, change and write of a register: which updates are lost?"
    requires = frozenset({"key-value"})
    settings: tuple[Setting, ...] = (
        *SetWorkload.settings,
        Setting(
            name="set.update",
            default="auto",
            choices=("auto", "blind"),
            scope="workload",
            doc="How set-rmw writes back: auto compares where the configuration can",
        ),
    )
    checkers: tuple[str, ...] = ("lost-update", "availability")

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: KeyValue = test.system.client("key-value", test.cluster, host, test.config)
        compares = test.config["set.update"] == "auto" and "compare-and-set" in offered(
            test.system, test.config
        )

        async def add(op: Invocation) -> Completion:
            for _ in range(MOST_TRIES):
                try:
                    held = (await store.get(str(op.key))).value
                except Exception as error:
                    raise DefiniteFailure(f"the read before the write: {error}") from None
                grown = [*(held or []), op.value]
                if not compares:
                    await store.put(str(op.key), grown)
                    return ok(op.value)
                if await store.compare_and_set(str(op.key), held, grown):
                    return ok(op.value)
            return fail(f"{MOST_TRIES} times somebody else was faster")

        async def read(op: Invocation) -> Completion:
            return ok((await store.get(str(op.key))).value or [])

        return StoreClient({"add": add, "read": read, "final-read": read}, store)
