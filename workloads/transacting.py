"""What the workloads of transactions share: a client that runs a list of micro-operations, and keys that rotate."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from harness.capabilities import MicroOperation, Transactions
from harness.generators import Context, Generator, Rate, Repeat
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.store_client import StoreClient

Program = list[MicroOperation]


class Values:
    """1, 2, 3, … for each key: no value of a key is written twice."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def next(self, key: str) -> int:
        self._last[key] = self._last.get(key, 0) + 1
        return self._last[key]


class TransactionWorkload:
    """A workload is what `program` draws; `restart` forgets what an earlier run drew."""

    description = ""
    requires = frozenset({"transactions"})
    settings: tuple[Setting, ...] = ()
    checkers = ("elle", "availability")
    default_rate = 200.0
    default_concurrency = 10

    def restart(self, config: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def program(self, rng: random.Random) -> Program:
        raise NotImplementedError

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {}

    async def setup(self, test: Test) -> None:
        self.restart(test.config)
        store: Transactions = test.system.client("transactions", test.cluster, "setup", test.config)
        await store.prepare()
        await store.close()

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: Transactions = test.system.client("transactions", test.cluster, host, test.config)

        async def txn(op: Invocation) -> Completion:
            return ok([list(done) for done in await store.transact(_operations(op.value))])

        return StoreClient({"txn": txn}, store)

    def generator(self, test: Test) -> Generator:
        def make(context: Context) -> Invocation:
            return Invocation(f="txn", value=[list(op) for op in self.program(context.random)])

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator | None:
        return None


def register_model() -> Setting:
    """The history holds `w` and `r`: the checker is told so."""
    return Setting(
        name="elle.model",
        default="rw-register",
        choices=("rw-register",),
        scope="workload",
        doc="What a history of this workload is judged as",
    )


def read(key: str) -> MicroOperation:
    return ("r", key, None)


def shuffled(rng: random.Random, program: Program) -> Program:
    return rng.sample(program, len(program))


def _operations(value: Sequence[Sequence[Any]]) -> Program:
    return [(str(f), str(key), argument) for f, key, argument in value]
