"""What the workloads of transactions share: a client that runs a list of micro-operations, and keys that make room for
others once they were used enough."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from harness.capabilities import MicroOperation, Transactions
from harness.generators import Context, Generator, Rate, Wait
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.keys import MOST_TRIES, RETRY_MS
from workloads.store_client import StoreClient

Program = list[MicroOperation]


class Values:
    """1, 2, 3, … for each key: no value of a key is written twice."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def next(self, key: str) -> int:
        self._last[key] = self._last.get(key, 0) + 1
        return self._last[key]


def consistency_model() -> Setting:
    return Setting(
        name="elle.consistency-model",
        default="",
        scope="workload",
        doc="The isolation that the history must show; empty: what the system's configuration promises "
        "(`--consistency-model` of `chaos test`)",
    )


class LiveKeys:
    """`live` keys at a time; a key makes room for a new one after `uses` micro-operations of committed transactions.
    Those that failed do not count: a key that is in use when the store goes down is still in use when it is back, so
    that somebody sees what became of it."""

    def __init__(self, prefix: str, live: int, uses: int) -> None:
        self._prefix = prefix
        self._uses = uses
        self._left = {f"{prefix}{number}": uses for number in range(live)}
        self._next = live

    def draw(self, rng: random.Random) -> str:
        """Key i is drawn with weight 1 / (i + 1)."""
        names = list(self._left)
        return rng.choices(names, weights=[1 / (at + 1) for at in range(len(names))])[0]

    @property
    def live(self) -> tuple[str, ...]:
        return tuple(self._left)

    def used(self, key: str) -> None:
        if key not in self._left:
            return
        self._left[key] -= 1
        if self._left[key] <= 0:
            fresh = f"{self._prefix}{self._next}"
            self._next += 1
            # The new one takes the old one's place: a hot key is followed by a hot key.
            self._left = {
                fresh if name == key else name: self._uses if name == key else left
                for name, left in self._left.items()
            }


class TransactionWorkload:
    """A workload is what `program` draws; `restart` forgets what an earlier run drew, `committed` hears of each
    transaction that did, and the keys of `last_looked_at` are read when everything is healed."""

    description = ""
    requires = frozenset({"transactions"})
    settings: tuple[Setting, ...] = (consistency_model(),)
    checkers: tuple[str, ...] = ("elle", "availability")
    default_rate = 200.0
    default_concurrency = 10

    def restart(self, config: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def program(self, rng: random.Random) -> Program:
        raise NotImplementedError

    def committed(self, program: Program) -> None:
        return None

    def last_looked_at(self) -> tuple[str, ...]:
        return ()

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
        return Rate(_Programs(self), test.rate)

    def final_generator(self, test: Test) -> Generator | None:
        return _LastLook(self.last_looked_at())


def rotating_keys(name: str, thing: str, *, live: int = 6, uses: int = 60) -> tuple[Setting, ...]:
    """The settings of a `RotatingKeys` of that name, with their defaults."""
    return (
        Setting(
            name=f"{name}.keys",
            default=live,
            minimum=1,
            scope="workload",
            doc=f"{thing.capitalize()}s in use at a time",
        ),
        Setting(
            name=f"{name}.uses",
            default=uses,
            minimum=1,
            scope="workload",
            doc=f"Micro-operations of committed transactions before a {thing} makes room for a new one",
        ),
    )


class RotatingKeys(TransactionWorkload):
    """Of live keys (`rotating_keys`), whose names begin with `prefix`."""

    name: str
    prefix: str

    def restart(self, config: Mapping[str, Any]) -> None:
        self._keys = LiveKeys(self.prefix, int(config[f"{self.name}.keys"]), int(config[f"{self.name}.uses"]))
        self._values = Values()

    def committed(self, program: Program) -> None:
        for _, key, _ in program:
            self._keys.used(key)

    def last_looked_at(self) -> tuple[str, ...]:
        return self._keys.live


def length(name: str) -> Setting:
    """Of the transactions of a `ReadsAndWrites` of that name."""
    return Setting(
        name=f"{name}.length",
        default=4,
        minimum=1,
        scope="workload",
        doc="Most micro-operations of a transaction",
    )


class ReadsAndWrites(RotatingKeys):
    """In transactions of any length up to `NAME.length`; `write` is the micro-operation that writes."""

    write: str

    def restart(self, config: Mapping[str, Any]) -> None:
        super().restart(config)
        self._length = int(config[f"{self.name}.length"])

    def program(self, rng: random.Random) -> Program:
        drawn: Program = []
        for _ in range(rng.randint(1, self._length)):
            key = self._keys.draw(rng)
            drawn.append(read(key) if rng.random() < 0.5 else (self.write, key, self._values.next(key)))
        return drawn


class _Programs:
    """`harness.generators.Generator`."""

    def __init__(self, workload: TransactionWorkload) -> None:
        self._workload = workload

    def next(self, context: Context) -> Invocation:
        return Invocation(f="txn", value=[list(op) for op in self._workload.program(context.random)])

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if completion.type == "ok":
            self._workload.committed(_operations(invocation.value))


class _LastLook:
    """`harness.generators.Generator`: each key in a transaction of its own; what does not answer is asked again."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._left = deque((key, 0) for key in keys)
        self._open: dict[int, tuple[str, int]] = {}

    def next(self, context: Context) -> Invocation | Wait | None:
        if not self._left:
            return Wait(RETRY_MS) if self._open else None
        key, tries = self._left.popleft()
        self._open[context.slot] = (key, tries)
        return Invocation(f="txn", value=[list(read(key))])

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        asked = self._open.pop(context.slot, None)
        if asked is not None and completion.type != "ok" and asked[1] < MOST_TRIES:
            self._left.append((asked[0], asked[1] + 1))


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
