"""Workload `cart`: elements are added to carts and removed again. Does what was removed come back?

`cart.merge` says who merges carts that were changed at the same time: `or-set` the store, whose sets remember each add
and take away what a removal has seen (Bieniusa et al. 2012); `union` the client, which joins the siblings it reads, as
in DeCandia et al. 2007 (Dynamo): an element that one sibling still has is there again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import DefiniteFailure, Sets, Siblings
from harness.generators import Context, Generator, Rate
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.keys import Keys, ReadAll
from workloads.store_client import StoreClient


class Cart:
    description = "elements added to carts and removed: does what was removed come back?"
    requires = frozenset({"sets", "siblings"})
    settings: tuple[Setting, ...] = (
        Setting(name="cart.keys", default=4, minimum=1, scope="workload", doc="Carts in use at a time"),
        Setting(
            name="cart.ops.per.key",
            default=60,
            minimum=1,
            scope="workload",
            doc="Operations after which a cart is replaced by a fresh one",
        ),
        Setting(
            name="cart.merge",
            default="or-set",
            choices=("or-set", "union"),
            scope="workload",
            doc="Carts changed at the same time: the store's observed-remove sets, or the union of siblings",
        ),
    )
    checkers = ("deletes", "availability")
    default_rate = 60.0
    default_concurrency = 8

    def __init__(self) -> None:
        self._keys = Keys("c", 1, 1)

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {"replicas": tuple(f"c{number}" for number in range(int(config["cart.keys"])))}

    async def setup(self, test: Test) -> None:
        self._keys = Keys("c", int(test.config["cart.keys"]), int(test.config["cart.ops.per.key"]))

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        if test.config["cart.merge"] == "union":
            return _union(test.system.client("siblings", test.cluster, host, test.config))
        return _or_set(test.system.client("sets", test.cluster, host, test.config))

    def generator(self, test: Test) -> Generator:
        return Rate(Shopping(self._keys), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("final-read", self._keys.used)


def _or_set(store: Sets) -> Client:
    async def add(op: Invocation) -> Completion:
        await store.add(str(op.key), str(op.value))
        return ok(op.value)

    async def remove(op: Invocation) -> Completion:
        await store.remove(str(op.key), str(op.value))
        return ok(op.value)

    async def read(op: Invocation) -> Completion:
        return ok(await store.members(str(op.key)))

    return StoreClient({"add": add, "remove": remove, "read": read, "final-read": read}, store)


def _union(store: Siblings) -> Client:
    """Every change reads first, and passes back the context of what it read."""

    async def held(key: str) -> tuple[set[str], bytes | None]:
        try:
            values, context = await store.get(key)
        except DefiniteFailure:
            raise
        except Exception as error:
            raise DefiniteFailure(f"the read before the write: {error}") from None
        return {element for cart in values for element in cart}, context

    async def add(op: Invocation) -> Completion:
        elements, context = await held(str(op.key))
        await store.put(str(op.key), sorted({*elements, str(op.value)}), context)
        return ok(op.value)

    async def remove(op: Invocation) -> Completion:
        elements, context = await held(str(op.key))
        if str(op.value) not in elements:
            raise DefiniteFailure(f"{op.value} is not in the cart")
        await store.put(str(op.key), sorted(elements - {str(op.value)}), context)
        return ok(op.value)

    async def read(op: Invocation) -> Completion:
        values, _ = await store.get(str(op.key))
        return ok(sorted({element for cart in values for element in cart}))

    return StoreClient({"add": add, "remove": remove, "read": read, "final-read": read}, store)


class Shopping:
    """Each element is added once; what is removed was in the cart when somebody last looked."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._elements = 0
        self._seen: dict[str, list[str]] = {}

    def next(self, context: Context) -> Invocation:
        key = self._keys.draw(context.random)
        drawn = context.random.random()
        seen = self._seen.get(key)
        if drawn < 0.3:
            return Invocation(f="read", key=key)
        if drawn < 0.6 and seen:
            return Invocation(f="remove", key=key, value=context.random.choice(seen))
        self._elements += 1
        return Invocation(f="add", key=key, value=str(self._elements))

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if completion.type != "ok":
            return
        if invocation.f == "read":
            self._seen[str(invocation.key)] = list(completion.value)
        elif invocation.f == "remove":
            seen = self._seen.get(str(invocation.key), [])
            self._seen[str(invocation.key)] = [element for element in seen if element != invocation.value]
