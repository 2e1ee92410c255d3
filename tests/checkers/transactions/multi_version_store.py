"""A small database with several isolation levels, whose clients crash, for histories of known isolation.

Programs run interleaved, one micro-operation a step, in an order drawn from `rng`. How each level works:

    read-uncommitted     writes in place under locks held to the end, undone on abort; reads see everything
    read-committed       each read sees what is committed then; writes are installed together on commit
    snapshot-isolation   reads see a snapshot (perhaps an old one); the first committer of a key wins
    strong-snapshot-isolation  the same, the snapshot is never older than the transaction
    serializable         as snapshot isolation, and what a writing transaction read must still be current on commit
    strict-serializable  the same with a snapshot no older than the transaction
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from harness.history import History, HistoryWriter

LEVELS = (
    "read-uncommitted",
    "read-committed",
    "snapshot-isolation",
    "strong-snapshot-isolation",
    "serializable",
    "strict-serializable",
)


@dataclass
class Running:
    process: int
    program: list[list[Any]]
    level: str
    snapshot: int
    done: list[list[Any]] = field(default_factory=list)
    writes: dict[int, Any] = field(default_factory=dict)
    read_at: dict[int, int] = field(default_factory=dict)
    undo: dict[int, Any] = field(default_factory=dict)
    told: bool = False
    """The client has its answer (or has crashed)."""


class Store:
    """`lists` says whether values are lists that grow or registers."""

    def __init__(self, rng: random.Random, level: str, *, lists: bool = True, crash: float = 0.05) -> None:
        self._rng, self._level, self._lists, self._crash = rng, level, lists, crash
        self._versions: list[dict[int, Any]] = [{}]
        """The committed state after each commit."""
        self._changed: dict[int, int] = {}
        self._place: dict[int, Any] = {}
        """What is in place, committed or not (read-uncommitted)."""
        self._locks: dict[int, int] = {}
        self._clock = 0
        self.writer = HistoryWriter(None, self._now)

    def _now(self) -> int:
        self._clock += 1000
        return self._clock

    def run(self, transactions: int, processes: int = 4, keys: int = 3, longest: int = 4) -> History:
        rng, slots, next_process = self._rng, list(range(processes)), processes
        running: dict[int, Running] = {}
        ghosts: list[Running] = []
        counter = 0
        left = transactions
        while left or running or ghosts:
            slot = rng.randrange(processes + len(ghosts))
            if slot >= processes:
                ghost = ghosts[slot - processes]
                if self._step(ghost) is not None:
                    ghosts.remove(ghost)
                continue
            if slot not in running:
                if not left:
                    if not running:
                        slot = 0
                        if not ghosts:
                            break
                    continue
                left -= 1
                program: list[list[Any]] = []
                for _ in range(rng.randint(1, longest)):
                    key = rng.randrange(keys)
                    if rng.random() < 0.5:
                        program.append(["r", key, None])
                    else:
                        counter += 1
                        program.append(["append" if self._lists else "w", key, counter])
                self.writer.append(slots[slot], "invoke", "txn", value=program)
                running[slot] = Running(slots[slot], program, self._level, self._begin())
                continue
            txn = running[slot]
            if rng.random() < self._crash / 2:
                self.writer.append(txn.process, "info", "txn", value=txn.program)
                del running[slot]
                slots[slot], next_process = next_process, next_process + 1
                if rng.random() < 0.7:
                    ghosts.append(txn)
                else:
                    self._abort(txn)
                continue
            outcome = self._step(txn)
            if outcome is None:
                continue
            del running[slot]
            if outcome and rng.random() < self._crash:
                self.writer.append(txn.process, "info", "txn", value=txn.program)
                slots[slot], next_process = next_process, next_process + 1
            elif outcome:
                self.writer.append(txn.process, "ok", "txn", value=txn.done)
            else:
                self.writer.append(txn.process, "fail", "txn", value=txn.program)
        return self.writer.history()

    def _begin(self) -> int:
        newest = len(self._versions) - 1
        if self._level in ("snapshot-isolation", "serializable") and self._rng.random() < 0.3:
            return max(0, newest - self._rng.randint(0, 4))
        return newest

    def _step(self, txn: Running) -> bool | None:
        """One micro-operation or the commit: True committed, False aborted, None goes on."""
        if len(txn.done) < len(txn.program):
            return self._execute(txn, *txn.program[len(txn.done)])
        if self._rng.random() < 0.1:
            self._abort(txn)
            return False
        return self._commit(txn)

    def _execute(self, txn: Running, f: str, key: int, value: Any) -> bool | None:
        if self._level == "read-uncommitted":
            return self._in_place(txn, f, key, value)
        if f == "r":
            if self._level == "read-committed":
                state = self._versions[-1]
            else:
                state = self._versions[txn.snapshot]
                txn.read_at[key] = txn.snapshot
            txn.done.append([f, key, self._over(state.get(key), txn.writes.get(key))])
        else:
            txn.writes[key] = [*txn.writes.get(key, []), value] if self._lists else value
            txn.done.append([f, key, value])
        return None

    def _over(self, base: Any, own: Any) -> Any:
        if self._lists:
            return [*(base or []), *(own or [])]
        return base if own is None else own

    def _in_place(self, txn: Running, f: str, key: int, value: Any) -> bool | None:
        if f == "r":
            txn.done.append([f, key, self._over(self._place.get(key), None)])
            return None
        if self._locks.setdefault(key, id_of(txn)) != id_of(txn):
            if self._rng.random() < 0.2:
                self._abort(txn)
                return False
            return None
        txn.undo.setdefault(key, self._place.get(key))
        self._place[key] = [*(self._place.get(key) or []), value] if self._lists else value
        txn.done.append([f, key, value])
        return None

    def _abort(self, txn: Running) -> None:
        for key, before in txn.undo.items():
            self._place[key] = before
        self._unlock(txn)

    def _unlock(self, txn: Running) -> None:
        for key in [k for k, owner in self._locks.items() if owner == id_of(txn)]:
            del self._locks[key]

    def _commit(self, txn: Running) -> bool:
        if self._level == "read-uncommitted":
            self._unlock(txn)
            return True
        if self._level != "read-committed":
            guarded = set(txn.writes)
            if txn.writes and self._level in ("serializable", "strict-serializable"):
                guarded |= set(txn.read_at)
            if any(self._changed.get(key, 0) > txn.snapshot for key in guarded):
                return False
        if txn.writes:
            state = dict(self._versions[-1])
            for key, own in txn.writes.items():
                state[key] = self._over(state.get(key), own)
                self._changed[key] = len(self._versions)
            self._versions.append(state)
        return True


def id_of(txn: Running) -> int:
    return txn.process
