"""A store in memory with the faces of all its capabilities, right unless one `mistake` is switched on. `errors` makes
a share of the calls raise, before or after they took effect, as a network does."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any

from harness.capabilities import Concurrent, DefiniteFailure, Read

MISTAKES = ("stale", "forget", "double", "resurrect", "mix", "diverge", "hoard")
CHANCE = 0.05


class MemoryStore:
    """The server; every call takes a turn to arrive and one to return, and is atomic between the two."""

    config: Mapping[str, Any] = {"replication.factor": 3}
    capabilities = frozenset({"key-value", "compare-and-set"})

    def __init__(self, rng: random.Random, *, errors: float = 0.0, mistake: str | None = None) -> None:
        assert mistake is None or mistake in MISTAKES
        self.rng = rng
        self.errors = errors
        self.mistake = mistake
        self.registers: dict[str, list[Any]] = {}
        self.counters: dict[str, int] = {}
        self.elements: dict[str, set[str]] = {}
        self.carts: dict[str, list[tuple[int, Any]]] = {}
        self.rows: dict[str, list[Mapping[str, Any]]] = {}
        self.puts = 0

    def face(self, capability: str) -> Any:
        faces = {"key-value": KeyValues, "counters": Counters, "sets": Sets, "siblings": Carts, "rows": Rows}
        return (faces | {"replicas": Replicas})[capability](self)

    async def turn(self) -> None:
        await asyncio.sleep(0)
        if self.rng.random() < self.errors:
            raise TimeoutError("lost on the way")

    def goes_wrong(self, mistake: str) -> bool:
        return self.mistake == mistake and self.rng.random() < CHANCE


class Face:
    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    async def close(self) -> None:
        return None


class KeyValues(Face):
    async def get(self, key: str) -> Read:
        await self.store.turn()
        versions = self.store.registers.get(key, [])
        at = len(versions)
        if at > 1 and self.store.goes_wrong("stale"):
            at -= 1
        elif at > 1 and versions[-1] is None and self.store.goes_wrong("resurrect"):
            at = max((n for n in range(1, at) if versions[n - 1] is not None), default=at)
        await self.store.turn()
        return Read(versions[at - 1], at) if at else Read(None)

    async def put(self, key: str, value: Any) -> int:
        await self.store.turn()
        versions = self.store.registers.setdefault(key, [])
        if not self.store.goes_wrong("forget"):
            versions.append(value)
        at = len(versions)
        await self.store.turn()
        return at

    async def delete(self, key: str) -> None:
        await self.put(key, None)

    async def compare_and_set(self, key: str, old: Any, new: Any) -> bool:
        await self.store.turn()
        versions = self.store.registers.setdefault(key, [])
        held = versions[-1] if versions else None
        if held == old and not self.store.goes_wrong("forget"):
            versions.append(new)
        await self.store.turn()
        return bool(held == old)


class Counters(Face):
    async def add(self, key: str, delta: int) -> None:
        await self.store.turn()
        times = 0 if self.store.goes_wrong("forget") else 1 + self.store.goes_wrong("double")
        self.store.counters[key] = self.store.counters.get(key, 0) + times * delta
        await self.store.turn()

    async def value(self, key: str) -> int:
        await self.store.turn()
        held = self.store.counters.get(key, 0)
        await self.store.turn()
        return held


class Sets(Face):
    async def add(self, key: str, element: str) -> None:
        await self.store.turn()
        if not self.store.goes_wrong("forget"):
            self.store.elements.setdefault(key, set()).add(element)
        await self.store.turn()

    async def remove(self, key: str, element: str) -> None:
        await self.store.turn()
        held = self.store.elements.get(key, set())
        if element not in held:
            raise DefiniteFailure("no member")
        if not self.store.goes_wrong("resurrect"):
            held.discard(element)
        await self.store.turn()

    async def members(self, key: str) -> list[str]:
        await self.store.turn()
        held = sorted(self.store.elements.get(key, ()))
        await self.store.turn()
        return held


class Carts(Face):
    """A context is the numbers of the siblings that were seen."""

    def _held(self, key: str) -> Concurrent:
        held = self.store.carts.get(key, [])
        return Concurrent([value for _, value in held], json.dumps([number for number, _ in held]).encode())

    async def get(self, key: str) -> Concurrent:
        await self.store.turn()
        held = self._held(key)
        await self.store.turn()
        return held

    async def put(self, key: str, value: Any, context: bytes | None) -> Concurrent:
        await self.store.turn()
        self.store.puts += 1
        seen = set(json.loads(context)) if context else set()
        held = self.store.carts.get(key, [])
        if self.store.mistake != "hoard":
            held = [sibling for sibling in held if sibling[0] not in seen]
        if self.store.goes_wrong("forget"):
            held = []
        self.store.carts[key] = [*held, (self.store.puts, value)]
        after = self._held(key)
        await self.store.turn()
        return after


class Rows(Face):
    async def write(self, key: str, columns: Mapping[str, Any]) -> None:
        await self.store.turn()
        self.store.rows.setdefault(key, []).append(dict(columns))
        await self.store.turn()

    async def read(self, key: str) -> Mapping[str, Any] | None:
        await self.store.turn()
        rows = self.store.rows.get(key, [])
        held = rows[-1] if rows else None
        if len(rows) > 1 and self.store.goes_wrong("mix"):
            held = {"a": rows[-1]["a"], "b": rows[-2]["b"]}
        await self.store.turn()
        return held


class Replicas(Face):
    async def replicas(self, key: str) -> dict[str, Any]:
        await self.store.turn()
        versions = self.store.registers.get(key, [])
        held = {f"n{n}": versions[-1] if versions else None for n in (1, 2, 3)}
        if len(versions) > 1 and self.store.goes_wrong("diverge"):
            held["n2"] = next(v for v in (*reversed(versions), "never") if v != versions[-1])
        return held
