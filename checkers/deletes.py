"""Checker `deletes`: what was deleted stays deleted.

    write, delete      key; the value of a write is written to that key only once
    add, remove        key, value: an element
    read, final-read   the ok's value: the key's value (null where it has none), or for sets a list of elements

A delete causes the end of every write that had ended before it began. A `final-read`, after heal and quiesce, must
not have any of those; while the clients run a read that has one may only be old, unless an earlier read had already
seen it gone.

A write is gone at the end where nothing followed it or was under way beside it, and no `final-read` has it: what hides
it is older (a tombstone from a clock that was ahead).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from checkers.violations import Violation, answer, before, by_key, kinds, quoted, succeeded, where
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result

FUNCTIONS = ("write", "delete", "add", "remove", "read", "final-read")


class DeletesChecker:
    description = (
        "deleted keys and removed elements do not come back, and what is written after a delete stays"
    )
    anomalies: Mapping[str, str] = {
        "resurrected-delete": "a value is visible after a delete of its key that follows its write",
        "lost-write": "the last write of a key, with nothing beside it, is hidden by something older",
        "resurrected-element": "an element is visible after a removal that follows every add of it",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        found: list[Violation] = []
        every = [o for o in history.operations if o.f in FUNCTIONS]
        judged = 0
        for key, operations in by_key(every).items():
            reads = succeeded(operations, "read", "final-read")
            deletes = succeeded(operations, "delete")
            having = _having(reads, elements=False)
            for value, writes in _by_value(kinds(operations, "write")).items():
                judged += len(deletes)
                found += _resurrected(
                    "resurrected-delete", where(key, "key"), value, writes, deletes, reads, having
                )
            found += _hidden(
                where(key, "key"), kinds(operations, "write", "delete"), succeeded(reads, "final-read")
            )
            removes = _by_value(succeeded(operations, "remove"))
            having = _having(reads, elements=True)
            for element, adds in _by_value(kinds(operations, "add")).items():
                own = removes.get(element, [])
                judged += len(own)
                found += _resurrected(
                    "resurrected-element", where(key, "set"), element, adds, own, reads, having
                )
        finals = succeeded(every, "final-read")
        deleted = succeeded(every, "delete", "remove")
        doubt = None
        if not deleted or not judged:
            doubt = f"none of {len(every)} operations deleted with success what had been written"
        elif not finals:
            doubt = f"there is no final read after {len(deleted)} deletes"
        measures = {"deletes": len(deleted), "final_reads": len(finals)}
        return answer("deletes", history, context, found, doubt=doubt, measures=measures)


def _by_value(operations: Sequence[Operation]) -> dict[Any, list[Operation]]:
    found: dict[Any, list[Operation]] = {}
    for operation in operations:
        found.setdefault(freeze(operation.invoke.value), []).append(operation)
    return found


def _having(reads: Sequence[Operation], *, elements: bool) -> dict[Any, list[Operation]]:
    """Which reads have each value, or each element."""
    found: dict[Any, list[Operation]] = {}
    for read in reads:
        several = elements and isinstance(read.value, list | tuple)
        for value in dict.fromkeys(freeze(v) for v in read.value) if several else [freeze(read.value)]:
            found.setdefault(value, []).append(read)
    return found


def _resurrected(
    name: str,
    place: str,
    value: Any,
    writes: Sequence[Operation],
    deletes: Sequence[Operation],
    reads: Sequence[Operation],
    having: Mapping[Any, Sequence[Operation]],
) -> list[Violation]:
    """At most one: the first read that has what the first delete after all its writes had ended."""
    delete = _first_after(writes, deletes)
    if delete is None:
        return []
    for read in having.get(value, ()):
        if not before(delete, read):
            continue
        absent = _seen_gone(delete, read, reads, {r.invoke.index for r in having[value]})
        if read.f != "final-read" and absent is None:
            continue
        was = "" if absent is None else f", and process {absent.process} had read that it was gone"
        return [
            Violation(
                name=name,
                where=place,
                sentence=(
                    f"process {read.process} read {quoted(value)} again after process {delete.process} had deleted "
                    f"it{was}"
                ),
                operations=(writes[-1], delete, *([] if absent is None else [absent]), read),
                value=value,
            )
        ]
    return []


def _hidden(place: str, changes: Sequence[Operation], finals: Sequence[Operation]) -> list[Violation]:
    """At most one: of the last change of the key, where that was a write that began when all others had ended."""
    if not changes:
        return []
    last = max(changes, key=lambda change: change.invoke.index)
    later = [read for read in finals if before(last, read)]
    others = [change for change in changes if change is not last]
    if last.f != "write" or not later or not all(before(change, last) for change in others):
        return []
    if any(freeze(read.value) == freeze(last.invoke.value) for read in later):
        return []
    read, earlier = later[-1], max(others, key=lambda change: change.invoke.index, default=None)
    after = "" if earlier is None else f", though the {earlier.f} before it had ended"
    return [
        Violation(
            name="lost-write",
            where=place,
            sentence=(
                f"{quoted(last.invoke.value)}, written last by process {last.process} with success{after}, is not what "
                f"process {read.process} read in the end: {quoted(read.value)}"
            ),
            operations=(*([] if earlier is None else [earlier]), last, read),
            value=last.invoke.value,
        )
    ]


def _first_after(writes: Sequence[Operation], deletes: Sequence[Operation]) -> Operation | None:
    """The first delete that began when all the writes had ended."""
    ends = [w.completion.index if w.outcome == "ok" and w.completion is not None else None for w in writes]
    if None in ends:
        return None
    place = bisect_right(deletes, max(end for end in ends if end is not None), key=lambda d: d.invoke.index)
    return deletes[place] if place < len(deletes) else None


def _seen_gone(
    delete: Operation, read: Operation, reads: Sequence[Operation], having: set[int]
) -> Operation | None:
    """A read between the delete and this read that did not have the value."""
    assert delete.completion is not None
    place = bisect_right(reads, delete.completion.index, key=lambda r: r.invoke.index)
    for other in islice(reads, place, None):
        if other.invoke.index >= read.invoke.index:
            return None
        if other.invoke.index not in having and before(other, read):
            return other
    return None
