"""Any node coordinates a request: quorums, read repair, ABD, sloppy writes (semantics 2.7 to 2.9 of a quorum store).

A request that cannot reach its quorum by what the failure detector says is `Unavailable`, before anything is sent:
certainly without effect. One that was sent and missed its quorum is a `Timeout`: nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from harness.node import NodeEnvironment
from systems.quorum.errors import Timeout, Unavailable
from systems.quorum.liveness import Liveness
from systems.quorum.messages import Found, Read, Store, Stored, Update
from systems.quorum.replica import Replica, same
from systems.quorum.ring import Ring
from systems.quorum.settings import copies
from systems.quorum.storage import Storage
from systems.quorum.versions import Cell, WrongType, merge
from systems.quorum.versions.registers import Abd, Column, Lww, Row
from systems.quorum.versions.siblings import Siblings

Call = Callable[[str, Any], Awaitable[Any]]


class Coordinator:
    """`call(node, message)`: the answer of a peer, or OSError / TimeoutError."""

    def __init__(
        self,
        env: NodeEnvironment,
        ring: Ring,
        liveness: Liveness,
        replica: Replica,
        storage: Storage,
        call: Call,
    ) -> None:
        config = env.config
        self._env = env
        self._ring = ring
        self._liveness = liveness
        self._replica = replica
        self._storage = storage
        self._call = call
        self.copies = min(int(config["replication.factor"]), len(ring.nodes))
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
        self._loose: dict[asyncio.Future[Any], None] = {}

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, key: str, level: str | None = None) -> Cell | None:
        """Raises `Unavailable`, `Timeout`, `WrongType`."""
        need = copies(level or self.read_level, self.copies)
        nodes = self._ring.preference(key, self.copies)
        self._enough([n for n in nodes if self._liveness.alive(n)], need)
        answers = await self._quorum(nodes, lambda node: self._read_at(node, key), need)
        merged: Cell | None = None
        for found in answers.values():
            merged = merge(merged, found.cell)
        await self._mended(key, nodes, answers, merged, need)
        if isinstance(merged, Siblings) and "context-dropped-on-read-merge" in self._env.bugs:
            first = next(iter(answers.values())).cell
            return Siblings(first.clock if isinstance(first, Siblings) else {}, merged.values)
        return merged

    async def _mended(
        self,
        key: str,
        nodes: Sequence[str],
        answers: dict[str, Found],
        merged: Cell | None,
        need: int,
    ) -> None:
        """Monotone reads: before the answer, a write quorum holds what is returned. Those that answered with it
        count; where they are one, nothing is to be done."""
        if merged is None:
            return
        holding = [node for node, found in answers.items() if same(found.cell, merged)]
        stale = [node for node in nodes if node not in holding]
        write_back = self._abd and isinstance(merged, Abd) and "abd-no-write-back" not in self._env.bugs
        blocking = self._repair == "blocking" and not (
            isinstance(merged, Abd) and "abd-no-write-back" in self._env.bugs
        )
        mend = Store(key, merged, purpose="repair")
        met_stale = len(holding) < len(answers)
        if write_back or blocking:
            wanted = max(
                copies(self.write_level, self.copies), copies("QUORUM", self.copies) if write_back else 0
            )
            if len(holding) >= wanted:
                return
            self._env.emit("read-repair" if met_stale else "write-back", key=key, blocking=True)
            await self._quorum(stale, lambda node: self._store_at(node, mend), wanted - len(holding))
        elif self._repair == "async" and met_stale:
            self._env.emit("read-repair", key=key, blocking=False)
            for node in stale:
                if node in answers:
                    self._let_go(self._store_at(node, mend))

    # ── writes ───────────────────────────────────────────────────────────────────────────────────────

    async def write(self, key: str, value: Any, *, deleted: bool = False, level: str | None = None) -> Cell:
        """A register. Raises `Unavailable`, `Timeout`, `WrongType`."""
        if self._abd:
            cell: Cell = await self._tagged(key, value, deleted)
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
        need = copies(self.write_level, self.copies)
        nodes = self._ring.preference(request.key, self.copies)
        alive = [n for n in nodes if self._liveness.alive(n)]
        self._enough(alive, need)
        here = self._env.name
        first = here if here in nodes else alive[self._writes % len(alive)]
        self._writes += 1
        try:
            if first == here:
                found = await self._replica.update(request)
            else:
                async with asyncio.timeout(self._timeout_s):
                    found = await self._call(first, request)
        except (OSError, TimeoutError):
            raise Timeout(f"{first} did not answer") from None
        if found.error or found.cell is None:
            raise WrongType(found.error)
        cell: Cell = found.cell
        await self._spread(request.key, cell, None, holding=first)
        return cell

    async def _tagged(self, key: str, value: Any, deleted: bool) -> Abd:
        """The first phase: a tag above every completed write's."""
        wall = self._env.wall_clock.time_ns()
        if "abd-write-skips-query" in self._env.bugs:
            self._own_counter += 1
            return Abd(self._own_counter, self._env.name, self._nonce, value, deleted, wall)
        nodes = self._ring.preference(key, self.copies)
        need = max(copies(self.read_level, self.copies), copies("QUORUM", self.copies))
        self._enough([n for n in nodes if self._liveness.alive(n)], need)
        answers = await self._quorum(nodes, lambda node: self._read_at(node, key), need)
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
        """To all N, or their fallbacks; returns when W have it on disk."""
        level = level or self.write_level
        need = copies(level, self.copies)
        walk = self._ring.walk(key)
        nodes = list(walk[: self.copies])
        alive = [n for n in nodes if self._liveness.alive(n)]
        targets: dict[str, Store] = {n: Store(key, cell) for n in nodes if n != holding}
        if self._sloppy:
            spare = iter(n for n in walk[self.copies :] if self._liveness.alive(n))
            for absent in [n for n in nodes if n not in alive]:
                fallback = next(spare, None)
                if fallback is not None:
                    targets[fallback] = Store(key, cell, hint_for=absent)
                    alive.append(fallback)
                    self._env.emit("sloppy-write", key=key, fallback=fallback, instead_of=absent)
        hints_count = level.upper() == "ANY"
        if not hints_count and holding is None:
            self._enough(alive, need)
        need -= holding is not None
        if hints_count and not [n for n in alive if n in targets]:
            for absent in nodes:
                await self._hint(absent, key, cell)
            return

        def missed(node: str) -> None:
            if not targets[node].hint_for:
                self._let_go(self._hint(node, key, cell))

        silent = [n for n in targets if not self._liveness.alive(n)]
        for node in silent:
            missed(node)
        reachable = [n for n in targets if n not in silent]
        if need > 0 or reachable:
            await self._quorum(
                reachable, lambda node: self._store_at(node, targets[node]), max(need, 0), missed
            )

    async def _hint(self, target: str, key: str, cell: Cell) -> None:
        if self._hinting and target != self._env.name and self._liveness.down_ms(target) <= self._window_ms:
            self._env.emit("hint-stored", target=target, sloppy=False)
            await self._storage.add_hint(target, key, cell)

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

    # ── quorums ──────────────────────────────────────────────────────────────────────────────────────

    def _enough(self, alive: Sequence[str], need: int) -> None:
        if len(alive) < need:
            raise Unavailable(f"{len(alive)} of {need} replicas needed are alive")

    async def _read_at(self, node: str, key: str) -> Found:
        if node == self._env.name:
            return await self._replica.read(Read(key))
        found: Found = await self._call(node, Read(key))
        return found

    async def _store_at(self, node: str, message: Store) -> Stored:
        if node == self._env.name:
            stored = await self._replica.store(message)
        else:
            stored = await self._call(node, message)
        if stored.error:
            raise WrongType(stored.error)
        return stored

    async def _quorum(
        self,
        nodes: Sequence[str],
        ask: Callable[[str], Awaitable[Any]],
        need: int,
        missed: Callable[[str], None] = lambda node: None,
    ) -> dict[str, Any]:
        """The first `need` answers; the other requests go on. `missed` is told of each node that did not answer."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        answers: dict[str, Any] = {}
        left = len(nodes)

        async def one(node: str) -> None:
            nonlocal left
            try:
                answer = await ask(node)
            except (OSError, TimeoutError):
                missed(node)
            except WrongType as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    answers[node] = answer
            left -= 1
            if not done.done() and (len(answers) >= need or not left):
                done.set_result(None)

        def give_up() -> None:
            if not done.done():
                done.set_result(None)

        for node in nodes:
            self._let_go(one(node))
        if need > 0:
            timer = loop.call_later(self._timeout_s, give_up)
            try:
                await done
            finally:
                timer.cancel()
            if len(answers) < need:
                raise Timeout(f"{len(answers)} of {need} replicas answered")
        return dict(answers)

    def _let_go(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._loose[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._loose.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, OSError | TimeoutError | WrongType):
            raise error

    def stop(self) -> None:
        for task in list(self._loose):
            task.cancel()
