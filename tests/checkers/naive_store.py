"""Session guarantees, sets and counters decided as their definitions say, every question by going through everything
again. Knows nothing of the checkers."""

from __future__ import annotations

from typing import Any

from harness.history import History
from harness.ops import Operation

Violation = tuple[str, Any]


def ended_before(one: Operation, other: Operation) -> bool:
    return one.outcome == "ok" and one.completion is not None and one.completion.index < other.invoke.index


def sessions(history: History) -> set[Violation]:
    """(anomaly, index of the read's invocation). Without versions."""
    operations = history.operations
    writes = [o for o in operations if o.f == "write" and o.outcome != "fail"]
    found: set[Violation] = set()

    def writer(key: Any, value: Any) -> Operation | None:
        those = [w for w in writes if w.invoke.key == key and w.invoke.value == value]
        return those[0] if len(those) == 1 else None

    def older(key: Any, one: Any, other: Any) -> bool:
        second = writer(key, other)
        if one == other or second is None:
            return False
        if one is None:
            return True
        first = writer(key, one)
        return first is not None and ended_before(first, second)

    done = [o for o in operations if o.outcome == "ok"]
    for read in done:
        if read.f == "write":
            continue
        key, value = read.invoke.key, read.value
        mine = [o for o in done if o.process == read.process and o.invoke.index < read.invoke.index]
        own = [o for o in mine if o.f == "write" and o.invoke.key == key]
        seen = [o for o in mine if o.f != "write" and o.invoke.key == key]
        names = set()
        if any(older(key, value, o.invoke.value) for o in own):
            names.add("ryw-violation")
        if any(older(key, value, o.value) for o in seen):
            names.add("nonmonotonic-read")
        if not names:
            for by in (o for o in mine if o.f != "write"):
                for write in (w for w in done if w.f == "write" and w.process != read.process):
                    if (write.invoke.key, write.invoke.value) != (by.invoke.key, by.value):
                        continue
                    before = [
                        o
                        for o in done
                        if o.process == write.process
                        and o.f != "write"
                        and o.invoke.key == key
                        and o.invoke.index < write.invoke.index
                    ]
                    if any(older(key, value, o.value) for o in before):
                        names.add("writes-follow-reads")
        found |= {(name, read.invoke.index) for name in names}
    return found


def sets(history: History, full: bool) -> set[Violation]:
    """(anomaly, (key, element)): lost and stale elements; without `full` by the final reads alone."""
    operations = history.operations
    reads = [o for o in operations if o.f in ("read", "final-read") and o.outcome == "ok"]
    found: set[Violation] = set()
    adds = [o for o in operations if o.f == "add" and o.outcome != "fail"]
    for key, element in {(o.invoke.key, o.invoke.value) for o in adds}:
        if any(
            o.f == "remove" and o.outcome != "fail" and (o.invoke.key, o.invoke.value) == (key, element)
            for o in operations
        ):
            continue
        these = [o for o in adds if (o.invoke.key, o.invoke.value) == (key, element)]
        acknowledged = [o for o in these if o.outcome == "ok"]
        of_key = [read for read in reads if read.invoke.key == key]
        having = [read for read in of_key if element in (read.value or [])]
        if not full:
            finals = [
                r for r in of_key if r.f == "final-read" and acknowledged and ended_before(acknowledged[0], r)
            ]
            if finals and not any(r in having for r in finals):
                found.add(("lost-write", (key, element)))
            continue
        proofs = acknowledged[:1] + having
        absent = [r for r in of_key if r not in having and any(ended_before(p, r) for p in proofs)]
        if not absent:
            continue
        gone = [r for r in absent if all(ended_before(h, r) for h in having)]
        found.add(("lost-write" if gone else "stale-read", (key, element)))
    return found


def counters(history: History, strict: bool) -> set[Violation]:
    """(anomaly, index of the read's invocation)."""
    found: set[Violation] = set()
    changes = [
        (o, (1 if o.f == "add" else -1) * o.invoke.value)
        for o in history.operations
        if o.f in ("add", "decrement") and o.outcome != "fail"
    ]
    for read in history.operations:
        if read.f not in ("read", "final-read") or read.outcome != "ok" or read.completion is None:
            continue
        least = most = 0
        for change, amount in changes:
            if change.invoke.key != read.invoke.key or change.invoke.index > read.completion.index:
                continue
            sure = (strict or read.f == "final-read") and ended_before(change, read)
            least += amount if sure or amount < 0 else 0
            most += amount if sure or amount > 0 else 0
        if read.value < least:
            found.add(("counter-under", read.invoke.index))
        if read.value > most:
            found.add(("counter-over", read.invoke.index))
    return found
