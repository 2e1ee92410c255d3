"""Checker `compaction`: a view of a table shows, of every key, the last that was acknowledged, or something later.

    put    `key`, `value` (none: a tombstone), `partition`; the ok's `offset`
    view   the ok's value: key -> [offset, value]; `final`: of the final phase; `reached`: read to the end that was asked
           for before; `hidden`: partitions of which open transactions hide the end

Held against each other are offsets, and times only where a reader may have come too late for a tombstone. A view may
show something later than what was acknowledged, and may miss a key that a delete of unknown outcome has taken since.
Removing is a cleaner's work, so that this is what proves a cleaner wrong: what it keeps of a key is the last committed
record, and a tombstone until everybody could see it.
What was put once has one offset in all views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from checkers.violations import Violation, answer, quoted, where
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Operation
from harness.results import Result

DELETE_RETENTION_MS = 86_400_000
"""Kafka's default."""


@dataclass(slots=True)
class Writes:
    """Of one key."""

    every: list[Operation] = field(default_factory=list)
    by_value: dict[str, Operation] = field(default_factory=dict)


class CompactionChecker:
    description = "every view of a table shows the last acknowledged write of each key, or something later"
    anomalies: Mapping[str, str] = {
        "compaction-lost-key": "a view that was read to the end misses the last acknowledged value of a key, or shows an older one",
        "compaction-resurrected-key": "a view that was read to the end shows a key although it was deleted later",
        "aborted-read": "a view shows a value whose write certainly failed",
        "duplicate": "views show what was put once at two offsets",
        "phantom-read": "a view shows a value that nobody wrote to the key",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        keys: dict[str, Writes] = {}
        for operation in history.operations:
            if operation.f == "put":
                of_key = keys.setdefault(str(operation.invoke.key), Writes())
                of_key.every.append(operation)
                if operation.invoke.value is not None:
                    of_key.by_value[str(operation.invoke.value)] = operation
        views = [o for o in history.operations if o.f == "view" and o.outcome == "ok"]
        judged = [v for v in views if _extra(v, "final") and _extra(v, "reached") and not _extra(v, "hidden")]
        found = [violation for view in views for violation in _unwritten(view, keys)]
        kept_ms = float(context.config.get("log.cleaner.delete.retention.ms", DELETE_RETENTION_MS))
        for view in judged:
            found += _behind(view, keys, _Reader(view, views, kept_ms))
        found += _twice(views, keys)
        acknowledged = sum(o.outcome == "ok" for of_key in keys.values() for o in of_key.every)
        doubt = None
        if not acknowledged:
            doubt = f"none of {sum(len(k.every) for k in keys.values())} writes was acknowledged"
        elif not judged:
            doubt = f"none of {len(views)} views was read to its end after the heal"
        return answer(
            "compaction",
            history,
            context,
            found,
            doubt=doubt,
            measures={
                "keys": len(keys),
                "acknowledged": acknowledged,
                "views": len(views),
                "views_judged": len(judged),
            },
        )


def _extra(view: Operation, name: str) -> object:
    return None if view.completion is None else view.completion.extra.get(name)


def _offset(operation: Operation) -> int | None:
    offset = None if operation.completion is None else operation.completion.extra.get("offset")
    return None if offset is None else int(offset)


class _Reader:
    """Who shows a view: one that reads on (`following`) meets a delete only while its tombstone is there, which is
    for `log.cleaner.delete.retention.ms` at least. Who comes later than that may miss it, as whoever set that wants."""

    def __init__(self, view: Operation, views: list[Operation], kept_ms: float) -> None:
        self._reads_on = view.invoke.key == "following"
        self._own = [v for v in views if v.process == view.process and v.invoke.key == view.invoke.key]
        self._kept_ns = kept_ms * 1e6

    def may_miss(self, delete: Operation) -> bool:
        offset, partition = _offset(delete), delete.invoke.extra.get("partition")
        if not self._reads_on or offset is None or partition is None:
            return False
        for view in self._own:
            assert view.completion is not None
            if int(view.completion.extra.get("ends", {}).get(partition, 0)) > offset:
                return view.completion.time - delete.invoke.time > self._kept_ns
        return False


def _behind(view: Operation, keys: Mapping[str, Writes], reader: _Reader) -> list[Violation]:
    """What had been acknowledged when the view was asked for must be in it."""
    assert view.completion is not None
    shown: Mapping[str, tuple[int, str]] = view.completion.value
    found: list[Violation] = []
    for key, writes in keys.items():
        last = _last_acknowledged(writes, view)
        if last is None:
            continue
        offset = _offset(last)
        assert offset is not None
        at, value = shown.get(key, (None, None))
        deleted = last.invoke.value is None
        if at is None:
            if not deleted and not _may_be_deleted(writes, offset, view):
                found.append(
                    _violation("compaction-lost-key", key, last, view, "the view does not have the key")
                )
        elif at < offset and not (deleted and reader.may_miss(last)):
            name = "compaction-resurrected-key" if deleted else "compaction-lost-key"
            found.append(
                _violation(name, key, last, view, f"the view shows {quoted(value)} from offset {at}")
            )
    return found


def _last_acknowledged(writes: Writes, view: Operation) -> Operation | None:
    known = [
        o
        for o in writes.every
        if o.outcome == "ok"
        and _offset(o) is not None
        and o.completion is not None
        and o.completion.index < view.invoke.index
    ]
    return max(known, key=lambda o: _offset(o) or 0, default=None)


def _may_be_deleted(writes: Writes, offset: int, view: Operation) -> bool:
    """Is there a delete that may stand behind the offset and in front of the view's end?"""
    assert view.completion is not None
    for operation in writes.every:
        at = _offset(operation)
        if (
            operation.invoke.value is None
            and operation.outcome != "fail"
            and operation.invoke.index < view.completion.index
            and (at is None or at > offset)
        ):
            return True
    return False


def _violation(name: str, key: str, last: Operation, view: Operation, shows: str) -> Violation:
    did = "deleted it" if last.invoke.value is None else f"put {quoted(last.invoke.value)}"
    kind = f"{view.invoke.key} " if view.invoke.key else ""
    return Violation(
        name=name,
        where=where(key, "table"),
        sentence=(
            f"process {last.process} {did} at offset {_offset(last)} of {last.invoke.extra.get('partition', 'the log')}, "
            f"but in the {kind}view of process {view.process}, which was asked for later, {shows}"
        ),
        operations=(last, view),
        value=last.invoke.value,
    )


def _twice(views: list[Operation], keys: Mapping[str, Writes]) -> list[Violation]:
    """A record keeps its offset for as long as it is there: what is shown at another one was appended once more."""
    first: dict[str, tuple[int, Operation]] = {}
    found: dict[str, Violation] = {}
    for view in views:
        assert view.completion is not None
        for key, (offset, value) in view.completion.value.items():
            write = keys[key].by_value.get(str(value)) if key in keys else None
            if write is None:
                continue
            at, before = first.setdefault(str(value), (offset, view))
            if at != offset and str(value) not in found:
                found[str(value)] = Violation(
                    name="duplicate",
                    where=where(key, "table"),
                    sentence=(
                        f"process {write.process} put {quoted(value)} once, but the view of process {before.process} shows "
                        f"it from offset {at} and the view of process {view.process} from offset {offset}"
                    ),
                    operations=(write, before, view),
                    value=value,
                )
    return list(found.values())


def _unwritten(view: Operation, keys: Mapping[str, Writes]) -> list[Violation]:
    assert view.completion is not None
    found: list[Violation] = []
    for key, (offset, value) in view.completion.value.items():
        write = keys[key].by_value.get(str(value)) if key in keys else None
        if write is not None and write.outcome != "fail":
            continue
        name = "phantom-read" if write is None else "aborted-read"
        why = (
            "which nobody wrote to it"
            if write is None
            else f"whose write by process {write.process} had failed"
        )
        found.append(
            Violation(
                name=name,
                where=where(key, "table"),
                sentence=f"the view of process {view.process} shows {quoted(value)} from offset {offset}, {why}",
                operations=(view,) if write is None else (write, view),
                value=value,
            )
        )
    return found
