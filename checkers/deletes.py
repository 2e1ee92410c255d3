"""Checker `deletes`: what was deleted stays deleted.

    write, delete      key; the value of a write is written to that key only once
    add, remove        key, value: an element
    read, final-read   the ok's value: the key's value (null where it has none), or for sets a list of elements

A delete causes the end of every write that had ended before it began. A `final-read`, after heal and quiesce, must
not have any of those; while the clients run a read that has one may only be old, unless an earlier read had already
seen it gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checkers.violations import Violation, answer, before, by_key, kinds, quoted, succeeded, where
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result

FUNCTIONS = ("write", "delete", "add", "remove", "read", "final-read")


class DeletesChecker:
    description = "deleted keys and removed elements do not come back"
    anomalies: Mapping[str, str] = {
        "resurrected-delete": "a value is visible after a delete of its key that follows its write",
        "resurrected-element": "an element is visible after a removal that follows every add of it",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        found: list[Violation] = []
        every = [o for o in history.operations if o.f in FUNCTIONS]
        judged = 0
        for key, operations in by_key(every).items():
            reads = succeeded(operations, "read", "final-read")
            deletes = succeeded(operations, "delete")
            for value, writes in _by_value(kinds(operations, "write")).items():
                judged += len(deletes)
                found += _resurrected("resurrected-delete", where(key, "key"), value, writes, deletes, reads)
            removes = _by_value(succeeded(operations, "remove"))
            for element, adds in _by_value(kinds(operations, "add")).items():
                judged += len(removes.get(element, []))
                found += _resurrected(
                    "resurrected-element", where(key, "set"), element, adds, removes.get(element, []), reads
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


def _resurrected(
    name: str,
    place: str,
    value: Any,
    writes: Sequence[Operation],
    deletes: Sequence[Operation],
    reads: Sequence[Operation],
) -> list[Violation]:
    """At most one: the first read that has what the first delete after all its writes had ended."""
    delete = next((d for d in deletes if all(before(w, d) for w in writes)), None)
    if delete is None:
        return []
    gone: Operation | None = None
    for read in reads:
        if not before(delete, read):
            continue
        if not _has(read, value, name):
            gone = gone or read
            continue
        absent = gone if gone is not None and before(gone, read) else None
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


def _has(read: Operation, value: Any, name: str) -> bool:
    if name == "resurrected-element":
        return value in {freeze(element) for element in read.value or ()}
    return bool(freeze(read.value) == value)
