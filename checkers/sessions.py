"""Checker `sessions`: what one client may expect of its own sequence of operations (Terry et al. 1994), key by key.

    write              key, value: written to that key only once
    read, final-read   key, the ok's value: null where nothing was written yet

A session is a process, or the field `session` of the invocation. Of two values one is older only where that is
certain: the initial null is older than every write; a write that ended before another began is older; and of writes
that overlap, where the answers carry a field `version` (a number or a list of them, the store's own word), the one with
the smaller version is. About everything else nothing is said.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from checkers.violations import Violation, answer, before, kinds, quoted, succeeded, where
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result

Seen = tuple[Operation, Any]
"""The operation by which a session knows a value, and the value."""


class SessionsChecker:
    description = "a client reads its own writes, and never goes back in time"
    anomalies: Mapping[str, str] = {
        "ryw-violation": "a client read something older than its own completed write",
        "nonmonotonic-read": "a client read something older than what it had read before",
        "nonmonotonic-write": "two writes of one client are installed in the other order",
        "writes-follow-reads": (
            "a client saw another's write without what that client had read before it wrote"
        ),
    }

    def check(self, history: History, context: CheckContext) -> Result:
        every = [o for o in history.operations if o.f in ("write", "read", "final-read")]
        order = _Order(every)
        sessions = _sessions(every)
        found = _Walk(order, sessions).violations()
        written = succeeded(every, "write")
        reads = succeeded(every, "read", "final-read")
        doubt = None
        if not written:
            doubt = f"none of {len(every)} operations wrote with success"
        elif not reads:
            doubt = f"nothing was read of {len(written)} writes"
        measures = {"sessions": len(sessions), "writes": len(written), "reads": len(reads)}
        return answer("sessions", history, context, found, doubt=doubt, measures=measures)


def session_of(operation: Operation) -> Any:
    return operation.invoke.extra.get("session", operation.process)


def _sessions(operations: list[Operation]) -> dict[Any, list[Operation]]:
    """Completed reads and writes of each, in order."""
    found: dict[Any, list[Operation]] = {}
    for operation in operations:
        if operation.outcome == "ok":
            found.setdefault(session_of(operation), []).append(operation)
    return found


class _Order:
    """Which of two values of a key is older, where that is certain."""

    def __init__(self, operations: list[Operation]) -> None:
        self._writes: dict[tuple[Any, Any], list[Operation]] = {}
        for operation in kinds(operations, "write"):
            name = freeze(operation.invoke.key), freeze(operation.invoke.value)
            self._writes.setdefault(name, []).append(operation)

    def write(self, key: Any, value: Any) -> Operation | None:
        """None for the initial value, and for one that has several writes or none."""
        writes = self._writes.get((key, value), [])
        return writes[0] if len(writes) == 1 else None

    def older(self, key: Any, one: Seen, other: Seen) -> bool:
        """Is the value of `one` older than that of `other`?"""
        if one[1] == other[1]:
            return False
        second = self.write(key, other[1])
        if one[1] is None:
            return second is not None
        first = self.write(key, one[1])
        if first is None or second is None:
            return False
        if before(first, second) or before(second, first):
            return before(first, second)
        versions = version(first) or version(one[0]), version(second) or version(other[0])
        return versions[0] is not None and versions[1] is not None and versions[0] < versions[1]


def version(operation: Operation) -> tuple[Any, ...] | None:
    if operation.completion is None:
        return None
    found = operation.completion.extra.get("version")
    if found is None:
        return None
    return tuple(found) if isinstance(found, list | tuple) else (found,)


class _Walk:
    """Goes through each session once, with what it has read and written of each key."""

    def __init__(self, order: _Order, sessions: Mapping[Any, list[Operation]]) -> None:
        self.order = order
        self.sessions = sessions
        self.reads_of: dict[tuple[Any, Any], list[Seen]] = {}
        for session, operations in sessions.items():
            for operation in operations:
                if operation.f != "write" and operation.value is not None:
                    name = session, freeze(operation.invoke.key)
                    self.reads_of.setdefault(name, []).append((operation, freeze(operation.value)))
        self.latest_written = {
            name: self._latest_written(name[1], seen) for name, seen in self.reads_of.items()
        }
        self.author: dict[tuple[Any, Any], Operation] = {
            (freeze(o.invoke.key), freeze(o.invoke.value)): o
            for operations in sessions.values()
            for o in operations
            if o.f == "write"
        }

    def _latest_written(self, key: Any, reads: list[Seen]) -> list[Seen]:
        """After each read: of all so far, the one whose write began last. What is older than any is older than it."""
        found: list[Seen] = []
        last = -1
        for seen in reads:
            write = self.order.write(key, seen[1])
            start = -1 if write is None else write.invoke.index
            found.append(seen if start > last or not found else found[-1])
            last = max(last, start)
        return found

    def violations(self) -> list[Violation]:
        return [v for session, operations in self.sessions.items() for v in self._of(session, operations)]

    def _of(self, session: Any, operations: list[Operation]) -> list[Violation]:
        written: dict[Any, list[Seen]] = {}
        read: dict[Any, list[Seen]] = {}
        followed: dict[Any, tuple[Operation, Operation]] = {}
        found: list[Violation] = []
        for operation in operations:
            key, value = freeze(operation.invoke.key), freeze(operation.value)
            now: Seen = (operation, value)
            if operation.f == "write":
                found += self._write_order(key, now, written.get(key, []))
                _remember(written, key, now, self.order)
                continue
            own = self._newer(key, now, written.get(key, []))
            seen = self._newer(key, now, read.get(key, []))
            if own is not None:
                found.append(_violation("ryw-violation", key, now, own, "after its own write of"))
            if seen is not None:
                found.append(_violation("nonmonotonic-read", key, now, seen, "after it had read"))
            if own is None and seen is None:
                found += self._left_out(key, now, followed)
            author = self.author.get((key, value))
            if author is not None and session_of(author) != session:
                other = session_of(author)
                if other not in followed or followed[other][0].invoke.index < author.invoke.index:
                    followed[other] = author, operation
            _remember(read, key, now, self.order)
        return found

    def _newer(self, key: Any, now: Seen, known: list[Seen]) -> Seen | None:
        return next((seen for seen in known if self.order.older(key, now, seen)), None)

    def _write_order(self, key: Any, now: Seen, earlier: list[Seen]) -> list[Violation]:
        mine = version(now[0])
        for seen in earlier:
            theirs = version(seen[0])
            if mine is not None and theirs is not None and mine < theirs:
                sentence = (
                    f"process {now[0].process} wrote {quoted(seen[1])} and then {quoted(now[1])}, but "
                    f"{quoted(now[1])} has version {quoted(mine)}, before {quoted(theirs)}"
                )
                return [
                    Violation(
                        name="nonmonotonic-write",
                        where=where(key, "register"),
                        sentence=sentence,
                        operations=(seen[0], now[0]),
                        value=now[1],
                    )
                ]
        return []

    def _left_out(
        self, key: Any, now: Seen, followed: Mapping[Any, tuple[Operation, Operation]]
    ) -> list[Violation]:
        """This client has seen a write of another one; it must not now read less than that one had read before."""
        for other, (write, by) in followed.items():
            reads = self.reads_of.get((other, key), [])
            place = bisect_left(reads, write.invoke.index, key=lambda seen: seen[0].invoke.index)
            if not place:
                continue
            for seen in (reads[place - 1], self.latest_written[other, key][place - 1]):
                if self.order.older(key, now, seen):
                    sentence = (
                        f"process {now[0].process} read {quoted(now[1])} after it had seen {quoted(write.value)}, which "
                        f"process {write.process} wrote when it had read {quoted(seen[1])}, which is newer"
                    )
                    return [
                        Violation(
                            name="writes-follow-reads",
                            where=where(key, "register"),
                            sentence=sentence,
                            operations=(seen[0], write, by, now[0]),
                            value=now[1],
                        )
                    ]
        return []


def _remember(known: dict[Any, list[Seen]], key: Any, now: Seen, order: _Order) -> None:
    """Only values that no other known one is certainly newer than: few, and enough."""
    kept = [seen for seen in known.get(key, []) if not order.older(key, seen, now) and seen[1] != now[1]]
    known[key] = [*kept, now]


def _violation(name: str, key: Any, now: Seen, known: Seen, when: str) -> Violation:
    return Violation(
        name=name,
        where=where(key, "register"),
        sentence=(
            f"process {now[0].process} read {quoted(now[1])}, which is older, {when} {quoted(known[1])}"
        ),
        operations=(known[0], now[0]),
        value=now[1],
    )
