"""Workload `siblings`: clients put with the causal context of what they last saw of a key. Is no sibling lost, and
none without a reason?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import Siblings
from harness.generators import Context, Generator, Rate
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.keys import Keys, ReadAll
from workloads.store_client import StoreClient


class SiblingsWorkload:
    description = "puts with causal contexts: is no concurrent value lost, and none without a reason?"
    requires = frozenset({"siblings"})
    settings: tuple[Setting, ...] = (
        Setting(name="siblings.keys", default=4, minimum=1, scope="workload", doc="Keys in use at a time"),
        Setting(
            name="siblings.ops.per.key",
            default=80,
            minimum=1,
            scope="workload",
            doc="Operations after which a key is replaced by a fresh one",
        ),
        Setting(
            name="siblings.blind.share",
            default=0.1,
            minimum=0.0,
            maximum=1.0,
            scope="workload",
            doc="Share of puts without a context",
        ),
    )
    checkers = ("siblings", "availability")
    default_rate = 60.0
    default_concurrency = 6

    def __init__(self) -> None:
        self._keys = Keys("x", 1, 1)

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"replicas": tuple(f"x{number}" for number in range(int(config["siblings.keys"])))}

    async def setup(self, test: Test) -> None:
        config = test.config
        self._keys = Keys("x", int(config["siblings.keys"]), int(config["siblings.ops.per.key"]))

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store: Siblings = test.system.client("siblings", test.cluster, host, test.config)
        contexts: dict[str, bytes | None] = {}

        async def put(op: Invocation) -> Completion:
            context = contexts.get(str(op.key)) if "saw" in op.extra else None
            after = await store.put(str(op.key), op.value, context)
            if after is None:
                return ok(op.value)
            contexts[str(op.key)] = after.context
            return ok(op.value, siblings=after.values)

        async def get(op: Invocation) -> Completion:
            values, contexts[str(op.key)] = await store.get(str(op.key))
            return ok(values)

        return StoreClient({"put": put, "get": get, "final-get": get}, store)

    def generator(self, test: Test) -> Generator:
        return Rate(Puts(self._keys, float(test.config["siblings.blind.share"])), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("final-get", self._keys.used)


class Puts:
    """Knows what each process last saw of each key, as its client knows the context that came with it."""

    def __init__(self, keys: Keys, blind: float) -> None:
        self._keys = keys
        self._blind = blind
        self._values = 0
        self._seen: dict[tuple[int, str], list[Any]] = {}

    def next(self, context: Context) -> Invocation:
        key = self._keys.draw(context.random)
        seen = self._seen.get((context.process, key))
        if context.random.random() < 0.4:
            return Invocation(f="get", key=key)
        self._values += 1
        if seen is None or context.random.random() < self._blind:
            return Invocation(f="put", key=key, value=self._values)
        return Invocation(f="put", key=key, value=self._values, extra={"saw": list(seen)})

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if completion.type != "ok":
            return
        if invocation.f == "get":
            self._seen[context.process, invocation.key] = list(completion.value)
        elif invocation.f == "put" and "siblings" in completion.extra:
            self._seen[context.process, invocation.key] = list(completion.extra["siblings"])
