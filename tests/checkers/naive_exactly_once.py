"""The exactly-once anomalies, decided as their definitions say, without any thought of speed. Knows `send`, `transfer`,
`poll`, `final-read` and `committed` of the topics `input` and `output`, and nothing of the checker."""

from __future__ import annotations

from typing import Any

from naive_log import Naive, completion

from harness.history import History
from harness.ops import Operation

Violation = tuple[str, str, Any, int | None]
"""(anomaly, partition or topic, value or transaction, offset)."""


def parts(value: str) -> tuple[int, int, str, str, int, int] | None:
    """partition, offset, value, txn, part, of."""
    try:
        source, rest = value.split(" by ")
        place, record = source.split("=", 1)
        partition, offset = place.split("@")
        txn, share = rest.split(" ")
        part, of = share.split("/")
        return int(partition), int(offset), record, txn, int(part), int(of)
    except ValueError:
        return None


def violations(history: History, inputs: list[str], outputs: list[str]) -> set[Violation]:
    operations = history.operations
    transfers = {o.invoke.extra["txn"]: o for o in operations if o.f == "transfer"}
    logs = {name: Naive(operations, name) for name in inputs + outputs}
    shown = [(name, offset, value) for name in outputs for offset, value in logs[name].order().items()]
    complete = all(logs[name].final is not None and not logs[name].hidden for name in outputs)
    fetched = [o for o in operations if o.f == "committed" and o.outcome == "ok"]
    found: set[Violation] = set()

    for _, _, value in shown:
        told = parts(value)
        if told is None:
            continue
        same = [v for _, _, v in shown if (p := parts(v)) is not None and p[:3] == told[:3]]
        if len(same) > 1:
            found.add(("eos-duplicate", f"input/{told[0]}", told[2], told[1]))
        siblings = [p for _, _, v in shown if (p := parts(v)) is not None and p[3] == told[3]]
        if complete and told[3] in transfers and len({p[4] for p in siblings}) < max(p[5] for p in siblings):
            found.add(("torn-txn", "output", told[3], None))

    if fetched and complete:
        for name, committed in fetched[-1].value:
            for offset, value in (logs[name].final or {}).items():
                source = (int(name[-1]), offset, str(value))
                done = any((p := parts(v)) is not None and p[:3] == source for _, _, v in shown)
                if committed is not None and offset < committed and not done:
                    found.add(("eos-loss", name, value, offset))

    for name in outputs:
        for value in {v for _, _, v in logs[name].reads}:
            offset = next(o for _, o, v in logs[name].reads if v == value)
            wrong = dirty(operations, transfers, value)
            if wrong:
                found.add((wrong, name, value, offset))

    for fetch, name, offset in fetches(operations):
        lower = [
            c for op, p, c in commits(operations) if p == name and completion(op).index < fetch.invoke.index
        ]
        if lower and offset < max(lower):
            found.add(("offset-regression", name, None, offset))
    return found


def dirty(operations: list[Operation], transfers: dict[str, Operation], value: str) -> str | None:
    told = parts(value)
    if told is None or told[3] not in transfers:
        return "phantom-read"
    transfer = transfers[told[3]]
    if transfer.completion is not None and transfer.completion.extra.get("outcome") == "empty":
        return "phantom-read"
    if transfer.outcome == "fail":
        return "aborted-read"
    sent = [o.invoke.value for o in operations if o.f == "send" and o.invoke.key == f"input/{told[0]}"]
    flat = [v for s in sent for v in (s if isinstance(s, list) else [s])]
    return "phantom-read" if flat and told[2] not in flat else None


def commits(operations: list[Operation]) -> list[tuple[Operation, str, int]]:
    return [
        (o, name, offset + 1)
        for o in operations
        if o.f == "transfer" and o.outcome == "ok"
        for name, offset, _ in completion(o).value["inputs"]
    ]


def fetches(operations: list[Operation]) -> list[tuple[Operation, str, int]]:
    found = [
        (o, p, c or 0) for o in operations if o.f == "committed" and o.outcome == "ok" for p, c in o.value
    ]
    for o in operations:
        if o.f == "transfer" and o.completion is not None:
            found += [(o, p, c) for p, c in o.completion.extra.get("resumed", [])]
    return found
