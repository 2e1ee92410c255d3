"""Workload `set-rmw`: a client reads a list, adds an element and writes it back. Registers lose updates so."""

from __future__ import annotations

from harness.capabilities import DefiniteFailure, KeyValue
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.set import SetWorkload
from workloads.store_client import StoreClient


class SetRmw(SetWorkload):
    description = "sets by read, change and write of a register: which updates are lost?"
    requires = frozenset({"key-value"})
    checkers: tuple[str, ...] = ("lost-update", "availability")

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: KeyValue = test.system.client("key-value", test.cluster, host, test.config)

        async def add(op: Invocation) -> Completion:
            try:
                held = (await store.get(str(op.key))).value or []
            except Exception as error:
                raise DefiniteFailure(f"the read before the write: {error}") from None
            await store.put(str(op.key), [*held, op.value])
            return ok(op.value)

        async def read(op: Invocation) -> Completion:
            return ok((await store.get(str(op.key))).value or [])

        return StoreClient({"add": add, "read": read, "final-read": read}, store)
