"""The story of an anomaly: what clients did, what was broken meanwhile, and what the nodes said of themselves.

Node events are colour: no verdict rests on them, and a history without them tells the same anomalies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.checker import CheckContext
from harness.history import History
from harness.node import NodeEvent
from harness.ops import Op
from harness.results import Moment

NS = 1_000_000_000
MOST_EVENTS = 12
LEAD_NS = NS
"""How long before the first operation the story begins."""


def seconds(time_ns: int) -> str:
    return f"{time_ns / NS:.3f} s"


def op_text(op: Op) -> str:
    """`process 3 send orders/0 3:17: ok`, without the records that it read."""
    what = [f"process {op.process}", op.f]
    if op.key is not None:
        what.append(str(op.key))
    if isinstance(op.value, (str, int)):
        what.append(str(op.value))
    elif isinstance(op.value, list):
        what.append(f"{len(op.value)} records")
    text = " ".join(what)
    offset = op.extra.get("offset")
    return (
        f"{text}: {op.type}"
        + (f" at offset {offset}" if offset is not None else "")
        + (f" ({op.error})" if op.error is not None else "")
    )


def tell(
    history: History, context: CheckContext, witnesses: Sequence[Op], *, partition: str | None = None
) -> tuple[Moment, ...]:
    """Moments in order of time: the operations, the faults between them, and what happened to the partition."""
    moments = [Moment(op.time, op_text(op), op=op.index) for op in witnesses]
    if witnesses:
        start = min(op.time for op in witnesses) - LEAD_NS
        end = max(op.time for op in witnesses)
        moments += _faults(history, start, end)
        moments += _events(context.events, partition, start, end)
    return tuple(sorted(moments, key=lambda m: m.time))


def faults_between(history: History, ops: Sequence[Op]) -> tuple[int, ...]:
    """History indices of faults in force at some time between the first and the last operation."""
    if not ops:
        return ()
    start, end = min(op.time for op in ops), max(op.time for op in ops)
    began: dict[Any, Op] = {}
    active: list[int] = []
    ended: set[Any] = set()
    undo = {"restart", "resume", "disarm"}
    for fault in history.faults:
        if fault.type == "invoke":
            continue
        position = fault.value.get("fault") if isinstance(fault.value, dict) else None
        if fault.f.startswith("heal") or fault.f in undo:
            begun = began.get(position)
            if begun is not None and begun.time <= end and fault.time >= start:
                active.append(begun.index)
            ended.add(position)
        elif fault.type == "ok":
            began[position] = fault
            ended.discard(position)
    active += [op.index for position, op in began.items() if position not in ended and op.time <= end]
    return tuple(sorted(set(active)))


def _faults(history: History, start: int, end: int) -> list[Moment]:
    found = []
    for fault in history.faults:
        if fault.type == "ok" and start <= fault.time <= end and isinstance(fault.value, dict):
            targets = ", ".join(str(t) for t in fault.value.get("targets") or ())
            found.append(Moment(fault.time, f"{fault.f} {targets}".strip(), op=fault.index))
    return found[-MOST_EVENTS:]


def _events(events: Sequence[NodeEvent], partition: str | None, start: int, end: int) -> list[Moment]:
    """Events of the partition, the latest ones: what stands nearest to the proof tells most."""
    if partition is None:
        return []
    found = [
        Moment(event.time, _event_text(event), node=event.node)
        for event in events
        if start <= event.time <= end and event.fields.get("partition") == partition
    ]
    return found[-MOST_EVENTS:]


def _event_text(event: NodeEvent) -> str:
    fields = ", ".join(f"{k}={_plain(v)}" for k, v in event.fields.items() if k != "partition")
    return f"{event.node}: {event.kind}" + (f" ({fields})" if fields else "")


def _plain(value: Any) -> str:
    return "[" + " ".join(str(v) for v in value) + "]" if isinstance(value, (list, tuple)) else str(value)
