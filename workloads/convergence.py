"""Workload `convergence`: writes under faults; after heal and quiesce every replica must hold the same (white box)."""

from __future__ import annotations

from harness.capabilities import KeyValue, Replicas
from harness.generators import Context, Generator, Rate, Repeat
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.keys import ReadAll
from workloads.kv_delete import KvDelete
from workloads.store_client import StoreClient


class Convergence(KvDelete):
    description = "writes and deletes under faults: do all replicas hold the same in the end? (white box)"
    requires = frozenset({"key-value", "replicas"})
    checkers = ("divergence", "availability")

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: KeyValue = test.system.client("key-value", test.cluster, host, test.config)
        inside: Replicas = test.system.client("replicas", test.cluster, host, test.config)

        async def write(op: Invocation) -> Completion:
            await store.put(str(op.key), op.value)
            return ok(op.value)

        async def delete(op: Invocation) -> Completion:
            await store.delete(str(op.key))
            return ok()

        async def replicas(op: Invocation) -> Completion:
            return ok(await inside.replicas(str(op.key)))

        return StoreClient({"write": write, "delete": delete, "replicas": replicas}, store, inside)

    def generator(self, test: Test) -> Generator:
        def make(context: Context) -> Invocation:
            key = self._keys.draw(context.random)
            if context.random.random() < 0.2:
                return Invocation(f="delete", key=key)
            self._values += 1
            return Invocation(f="write", key=key, value=self._values)

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("replicas", self._keys.used)
