"""Any node coordinates a request: quorums, read repair, ABD, sloppy writes (semantics 2.7 to 2.9 of a quorum store).

A request that cannot reach its quorum by what the failure detector says is `Unavailable`, before anything is sent:
certainly without effect. One that was sent and missed its quorum is a `Timeout`: nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from harness.node import NodeEnvironment
from systems.quorum.errors import Timeout, Unavailable
from systems.quorum.liveness import Liveness
from systems.quorum.membership.placement import Placement
from systems.quorum.membership.service import Membership, Moved
from systems.quorum.messages import Found, Read, Store, Stored, Update
from systems.quorum.quorums import Quorums, Sets, reached
from systems.quorum.replica import same
from systems.quorum.settings import copies
from systems.quorum.storage import Storage
from systems.quorum.versions import Cell, WrongType, merge
from systems.quorum.versions.registers import Abd, Column, Lww, Row
from systems.quorum.versions.siblings import Siblings

T = TypeVar("T")


class Coordinator:
    def __init__(
        self,
        env: NodeEnvironment,
        membership: Membership,
        liveness: Liveness,
        storage: Storage,
    ) -> None:
        config = env.config
        self._env = env
        self._membership = membership
        self._liveness = liveness
        self._storage = storage
        self.copies = int(config["replication.factor"])
        self.read_level, self.write_level = str(config["read.quorum"]), str(config["write.quorum"])
        self._sloppy = bool(config["sloppy.quorum"])
        self._abd = config["conflict"] == "abd"
        self._repair = str(config["read.repair"])
        self._resolution_ns = int(float(config["lww.resolution.ms"]) * 1e6)
        self._hinting = bool(config["hinted.handoff.enabled"])
        self._window_ms = int(config["max.hint.window.ms"])
        self._timeout_s = int(config["coordinator.timeout.ms"]) / 1000
        self._last_ns = 0
        self._writes = 0
        self._nonce = env.random.getrandbits(48)
        if "abd-tag-reuse-after-restart" in env.bugs:
            self._nonce = 0
        self._own_counter = 0
        self._quorums = Quorums(liveness, timeout_s=self._timeout_s)

    async def _in_ring(self, attempt: Callable[[Placement], Awaitable[T]]) -> T:
        """By the ring of the moment, and again where a replica knows a later one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        while True:
            if not self._membership.serving:
                raise Unavailable(f"{self._env.name} has no part in the ring")
            try:
                return await attempt(self._membership.placement)
            except Moved:
                if loop.time() >= deadline:
                    raise Timeout("the ring kept changing") from None

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, key: str, level: str | None = None) -> Cell | None:
        """Raises `Unavailable`, `Timeout`, `WrongType`."""
        return await self._in_ring(lambda placement: self._read(placement, key, level))

    async def _read(self, placement: Placement, key: str, level: str | None) -> Cell | None:
        need = copies(level or self.read_level, self.copies)
        answers = await self._found(placement, key, need)
        merged: Cell | None = None
        for found in answers.values():
            merged = merge(merged, found.cell)
        await self._mended(placement, key, answers, merged)
        if isinstance(merged, Siblings) and "context-dropped-on-read-merge" in self._env.bugs:
            first = next(iter(answers.values())).cell
            return Siblings(first.clock if isinstance(first, Siblings) else {}, merged.values)
        return merged

    async def _found(self, placement: Placement, key: str, need: int) -> dict[str, Found]:
        """What a quorum has."""
        nodes = placement.readers(key)
        self._quorums.enough([nodes], need)
        request = Read(key, placement.epoch)
        return await self._quorums.gather(
            nodes, lambda node: self._membership.ask(node, request), [nodes], need
        )

    async def _mended(
        self, placement: Placement, key: str, answers: dict[str, Found], merged: Cell | None
    ) -> None:
        """Monotone reads: before the answer, a write quorum holds what is returned. Those that answered with it
        count; where they are one, nothing is to be done."""
        if merged is None:
            return
        holding = [node for node, found in answers.items() if same(found.cell, merged)]
        stale = [node for node in placement.writers(key) if node not in holding]
        write_back = self._abd and isinstance(merged, Abd) and "abd-no-write-back" not in self._env.bugs
        blocking = self._repair == "blocking" and not (
            isinstance(merged, Abd) and "abd-no-write-back" in self._env.bugs
        )
        mend = Store(key, merged, purpose="repair", epoch=placement.epoch)
        met_stale = len(holding) < len(answers)
        if write_back or blocking:
            wanted = max(
                copies(self.write_level, self.copies), copies("QUORUM", self.copies) if write_back else 0
            )
            sets = placement.write_sets(key)
            if reached(sets, holding, wanted):
                return
            if not met_stale and "abd-unanimous-skip-with-small-r" in self._env.bugs:
                return
            self._env.emit("read-repair" if met_stale else "write-back", key=key, blocking=True)
            await self._quorums.gather(
                stale, lambda node: self._store_at(node, mend), sets, wanted, holding=holding
            )
        elif self._repair == "async" and met_stale:
            self._env.emit("read-repair", key=key, blocking=False)
            for node in stale:
                if node in answers:
                    self._quorums.let_go(self._store_at(node, mend))

    # ── writes ───────────────────────────────────────────────────────────────────────────────────────

    async def write(self, key: str, value: Any, *, deleted: bool = False, level: str | None = None) -> Cell:
        """A register. Raises `Unavailable`, `Timeout`, `WrongType`."""
        if self._abd:
            cell: Cell = await self._in_ring(lambda placement: self._tagged(placement, key, value, deleted))
        else:
            timestamp, tie = self._stamp()
            cell = Lww(timestamp, tie, value, deleted)
        await self._spread(key, cell, level)
        return cell

    async def write_row(self, key: str, columns: dict[str, Any]) -> None:
        timestamp, tie = self._stamp()
        if self._env.config["lww.tie"] == "value":
            tie = ""
        cell = Row({name: Column(timestamp, tie, value) for name, value in sorted(columns.items())})
        await self._spread(key, cell, None)

    async def update(self, request: Update) -> Cell:
        """At a replica first, under its own actor; then to the others."""
        first, cell = await self._in_ring(lambda placement: self._updated(placement, request))
        await self._spread(request.key, cell, None, holding=first)
        return cell

    async def _updated(self, placement: Placement, request: Update) -> tuple[str, Cell]:
        """At one that readers ask: it has all that is known of the key."""
        nodes = placement.readers(request.key)
        self._quorums.enough(placement.write_sets(request.key), copies(self.write_level, self.copies))
        alive = [n for n in nodes if self._liveness.alive(n)]
        self._quorums.enough([alive], 1)
        here = self._env.name
        first = here if here in nodes else alive[self._writes % len(alive)]
        self._writes += 1
        message = msgspec.structs.replace(request, epoch=placement.epoch)
        try:
            async with asyncio.timeout(self._timeout_s):
                found: Found = await self._membership.ask(first, message)
        except Moved:
            raise
        except (OSError, TimeoutError):
            raise Timeout(f"{first} did not answer") from None
        if found.error or found.cell is None:
            raise WrongType(found.error)
        return first, found.cell

    async def _tagged(self, placement: Placement, key: str, value: Any, deleted: bool) -> Abd:
        """The first phase: a tag above every completed write's."""
        wall = self._env.wall_clock.time_ns()
        if "abd-write-skips-query" in self._env.bugs:
            self._own_counter += 1
            return Abd(self._own_counter, self._env.name, self._nonce, value, deleted, wall)
        need = max(copies(self.read_level, self.copies), copies("QUORUM", self.copies))
        answers = await self._found(placement, key, need)
        highest = 0
        for found in answers.values():
            if found.cell is not None and not isinstance(found.cell, Abd):
                raise WrongType("the key holds no register")
            if found.cell is not None:
                highest = max(highest, found.cell.counter)
        self._writes += 1
        nonce = self._nonce + (0 if "abd-tag-reuse-after-restart" in self._env.bugs else self._writes)
        return Abd(highest + 1, self._env.name, nonce, value, deleted, wall)

    async def _spread(self, key: str, cell: Cell, level: str | None, *, holding: str | None = None) -> None:
        """To all that keep the key, or their fallbacks; returns when W of them have it on disk."""
        sent = holding is not None

        async def attempt(placement: Placement) -> None:
            nonlocal sent
            if not sent:
                self._enough_to_write(placement, key, level or self.write_level)
            sent = True
            await self._spread_once(placement, key, cell, level or self.write_level, holding)

        try:
            await self._in_ring(attempt)
        except Unavailable as error:
            # Of a later attempt: some may have it from the one before.
            raise (Timeout(str(error)) if sent else error) from None

    def _enough_to_write(self, placement: Placement, key: str, level: str) -> None:
        if level.upper() == "ANY":
            return
        sets: Sets = placement.write_sets(key)
        if self._sloppy:
            present = {node: True for owners in sets for node in owners if self._liveness.alive(node)}
            spare = sum(self._liveness.alive(node) for node in placement.fallbacks(key))
            absent = [node for node in placement.writers(key) if node not in present][:spare]
            sets = [[n for n in owners if n in present or n in absent] for owners in sets]
            if all(len(owners) >= copies(level, self.copies) for owners in sets):
                return
        self._quorums.enough(sets, copies(level, self.copies))

    async def _spread_once(
        self, placement: Placement, key: str, cell: Cell, level: str, holding: str | None
    ) -> None:
        need = copies(level, self.copies)
        since = self._env.wall_clock.time_ns()
        nodes = [n for n in placement.writers(key) if n != holding]
        epoch = placement.epoch
        targets: dict[str, Store] = {n: Store(key, cell, epoch=epoch) for n in nodes}
        silent = [n for n in nodes if not self._liveness.alive(n)]
        standing: dict[str, str] = {}
        if self._sloppy:
            spare = iter(n for n in placement.fallbacks(key) if self._liveness.alive(n))
            for absent in silent:
                fallback = next(spare, None)
                if fallback is not None:
                    targets[fallback] = Store(key, cell, hint_for=absent, epoch=epoch, since=since)
                    standing[fallback] = absent
                    self._env.emit("sloppy-write", key=key, fallback=fallback, instead_of=absent)
        reachable = [n for n in targets if n not in silent]
        if level.upper() == "ANY" and not reachable and holding is None:
            for absent in nodes:
                await self._hint(absent, key, cell, since)
            return

        def missed(node: str) -> None:
            if not targets[node].hint_for:
                self._quorums.let_go(self._hint(node, key, cell, since))

        for node in silent:
            missed(node)
        await self._quorums.gather(
            reachable,
            lambda node: self._store_at(node, targets[node]),
            placement.write_sets(key),
            need,
            missed,
            holding=[] if holding is None else [holding],
            standing=standing,
        )
        self._env.step("store.write.acknowledged")

    async def _hint(self, target: str, key: str, cell: Cell, since: int) -> None:
        if self._hinting and target != self._env.name and self._liveness.down_ms(target) <= self._window_ms:
            self._env.emit("hint-stored", target=target, sloppy=False)
            await self._storage.add_hint(target, key, cell, since)

    def _stamp(self) -> tuple[int, str]:
        """The wall clock, never twice and never backwards on one node."""
        now = self._env.wall_clock.time_ns()
        if self._resolution_ns:
            now -= now % self._resolution_ns
        if "coordinator-clock-backwards" not in self._env.bugs:
            now = max(now, self._last_ns if self._resolution_ns else self._last_ns + 1)
        self._last_ns = now
        self._writes += 1
        return now, f"{self._env.name}-{self._nonce:012x}-{self._writes:08}"

    async def _store_at(self, node: str, message: Store) -> Stored:
        stored: Stored = await self._membership.ask(node, message)
        if stored.error:
            raise WrongType(stored.error)
        if message.purpose == "write":
            self._env.step("store.write.stored")
        return stored

    def stop(self) -> None:
        self._quorums.stop()
