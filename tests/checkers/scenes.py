"""Small runs with faults and node events, written line by line: what a story is told from. Times in milliseconds."""

from __future__ import annotations

from typing import Any

from harness.checker import CheckContext
from harness.history import History
from harness.node import NodeEvent
from harness.ops import NEMESIS, Op, OpType, Process

MS = 1_000_000
PARTITION = "orders/0"


class Scenario:
    """Collects operations, faults and events in any order; `history` sorts them by time."""

    def __init__(self) -> None:
        self._ops: list[tuple[int, Process, OpType, str, Any, Any, dict[str, Any]]] = []
        self.events: list[NodeEvent] = []
        self._faults = 0

    def op(
        self,
        span: tuple[int, int],
        process: int,
        f: str,
        key: Any,
        value: Any,
        type: OpType = "ok",
        *,
        asked: dict[str, Any] | None = None,
        **extra: Any,
    ) -> None:
        """`span`: when it was invoked and when completed; `asked`: extra fields of the invocation."""
        begun, ended = span
        given = value if f == "send" else None
        self._ops.append((begun, process, "invoke", f, key, given, dict(asked or {})))
        self._ops.append((ended, process, type, f, key, value, extra))

    def send(self, start: int, end: int, process: int, value: str, offset: int | None) -> None:
        type: OpType = "info" if offset is None else "ok"
        extra = {} if offset is None else {"offset": offset}
        self.op((start, end), process, "send", PARTITION, value, type, **extra)

    def final_read(self, at: int, values: list[str], partition: str = PARTITION) -> None:
        records = [[partition, offset, value] for offset, value in enumerate(values)]
        span = {"from": 0, "next": len(values), "end": len(values), "reached": True}
        self.op((at, at + 10), 90, "final-read", partition, records, **span)

    def fault(
        self,
        at: int,
        until: int,
        kind: str,
        undo: str,
        targets: list[str],
        links: list[list[str]] | None = None,
    ) -> None:
        number, self._faults = self._faults, self._faults + 1
        value: dict[str, Any] = {"fault": number, "targets": targets, "verified": True, "params": {}}
        if links is not None:
            value["links"] = links
        for time, f in ((at, kind), (until, undo)):
            for type in ("invoke", "ok"):
                self._ops.append((time, NEMESIS, type, f, None, value, {}))

    def event(self, at: int, node: str, kind: str, **fields: Any) -> None:
        self.events.append(NodeEvent(at * MS, node, kind, fields))

    def leads(self, at: int, node: str, epoch: int, end: int, reason: str = "leader-elected") -> None:
        """The controller says so, then the leader, then its followers."""
        self.event(
            at,
            "c1",
            "partition-changed",
            partition=PARTITION,
            leader=node,
            leader_epoch=epoch,
            isr=[node],
            replicas=["b1", "b2", "b3"],
            partition_epoch=epoch,
            reason=reason,
        )
        self.event(
            at + 1,
            node,
            "leader-elected",
            partition=PARTITION,
            leader_epoch=epoch,
            epoch_start=end,
            isr=[node],
        )

    def follows(
        self, at: int, node: str, leader: str, epoch: int, cut: tuple[int, int] | None = None
    ) -> None:
        """`cut`: what it truncated, (was, end)."""
        self.event(at, node, "follower", partition=PARTITION, leader=leader, leader_epoch=epoch)
        if cut is not None:
            was, end = cut
            fields = {"partition": PARTITION, "was": was, "end": end, "leader": leader, "leader_epoch": epoch}
            self.events.append(
                NodeEvent((at + 5) * MS, node, "truncated", {**fields, "reason": "divergence"})
            )

    def history(self) -> History:
        ordered = sorted(enumerate(self._ops), key=lambda line: (line[1][0], line[0]))
        return History(
            Op(index=index, time=at * MS, process=process, type=type, f=f, key=key, value=value, extra=extra)
            for index, (_, (at, process, type, f, key, value, extra)) in enumerate(ordered)
        )

    def context(self, **given: Any) -> CheckContext:
        return CheckContext(events=sorted(self.events, key=lambda e: e.time), **given)


def killed_leader() -> Scenario:
    """acks=1: b1 alone has `3:1`, is killed, b2 leads without it, b1 comes back and truncates."""
    run = Scenario()
    run.leads(1, "b1", 0, 0)
    run.follows(2, "b2", "b1", 0)
    run.follows(2, "b3", "b1", 0)
    run.send(100, 110, 3, "3:0", 0)
    run.send(200, 210, 3, "3:1", 1)
    run.fault(300, 2_000, "kill", "restart", ["b1"])
    run.leads(1_000, "b2", 1, 1)
    run.follows(1_002, "b3", "b2", 1)
    run.send(1_100, 1_110, 4, "4:0", 1)
    run.follows(2_010, "b1", "b2", 1, cut=(2, 1))
    run.final_read(5_000, ["3:0", "4:0"])
    return run


def deposed_leader() -> Scenario:
    """b1 is cut off and goes on acknowledging after b2 has been elected."""
    run = Scenario()
    run.leads(1, "b1", 0, 0)
    run.send(100, 110, 3, "3:0", 0)
    links = [["b1", "b2"], ["b2", "b1"], ["b1", "b3"], ["b3", "b1"]]
    run.fault(150, 3_000, "partition", "heal-partition", ["b1"], links)
    run.leads(1_000, "b2", 1, 1)
    run.send(1_500, 1_510, 3, "3:1", 1)
    run.send(1_600, 1_610, 4, "4:0", 1)
    run.follows(3_010, "b1", "b2", 1, cut=(2, 1))
    run.final_read(8_000, ["3:0", "4:0"])
    return run
