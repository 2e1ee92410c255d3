"""Made-up run folders that look like real ones: load, faults, node events, two proven anomalies.

python tests/reports/sample_run.py FOLDER [OPERATIONS]     writes one and its report
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import msgspec

from harness.history import to_json
from harness.node import NodeEvent
from harness.ops import NEMESIS, Op
from harness.results import Anomaly, Blame, Moment, Result, Verdict
from harness.schedule import Fault, Schedule
from harness.spec import Spec

MS = 1_000_000
SLOTS = 8
PARTITIONS = ("orders/0", "orders/1", "orders/2")
FAULTS: tuple[tuple[int, int, str, str, dict[str, Any], list[str]], ...] = (
    (
        9_000,
        6_200,
        "partition",
        "leader(orders/0)",
        {"shape": "isolate", "how": "drop", "direction": "both", "clients": False},
        ["b1"],
    ),
    (20_500, 3_900, "kill", "one-of(brokers)", {}, ["b3"]),
    (
        22_000,
        6_000,
        "partition",
        "one-of(clients)",
        {"shape": "isolate", "how": "hold", "direction": "in", "clients": False},
        ["client-3"],
    ),
    (31_000, 5_000, "clock", "coordinator(eos-0)", {"mode": "jump", "offset_ms": 60000}, ["b2"]),
    (39_500, 4_200, "kill", "outside-isr(orders/2)", {}, []),
)


def write_sample(
    folder: Path, *, operations: int = 3_000, seconds: int = 60, verdict: str = "invalid"
) -> Path:
    """A run folder of about that many operations. Deterministic."""
    rng = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    history, lost = _history(rng, operations, seconds)
    spec = _spec(seconds)
    _json(folder / "spec.json", spec)
    faults = [
        Fault(at_ms=at, kind=kind, selector=selector, duration_ms=length, params=params)
        for at, length, kind, selector, params, _ in FAULTS
    ]
    _json(folder / "schedule.json", Schedule(tuple(faults)))
    _lines(folder / "history.jsonl", (to_json(op) for op in history))
    _lines(folder / "events.jsonl", _events(seconds))
    _json(folder / "result.json", _result(verdict, history, lost, seconds))
    return folder


def _spec(seconds: int) -> Spec:
    config = {
        "acks": "1",
        "min.insync.replicas": 2,
        "replication.factor": 3,
        "enable.idempotence": True,
        "unclean.leader.election.enable": False,
        "broker.session.timeout.ms": 3000,
        "replica.lag.time.max.ms": 2000,
        "isolation.level": "read_committed",
        "produce.partitions": 3,
    }
    return Spec(
        workload="produce",
        nemesis="partition",
        concurrency=SLOTS,
        rate=50.0,
        seed=17,
        time_limit_ms=seconds * 1000,
        settings={"acks": "1"},
        config=config,
        chaos_version="0.1.0",
    )


def _history(rng: random.Random, count: int, seconds: int) -> tuple[list[Op], dict[str, int]]:
    """Sends and polls of eight slots; slow and failing while faults are on."""
    raw: list[tuple[int, int, dict[str, Any]]] = []
    order = 0

    def add(time_ns: int, **fields: Any) -> None:
        nonlocal order
        raw.append((time_ns, order, fields))
        order += 1

    for position, (at, length, kind, selector, params, targets) in enumerate(FAULTS):
        value = {"fault": position, "selector": selector, "params": params, "duration_ms": length}
        undo = {"partition": "heal-partition", "kill": "restart", "clock": "heal-clock"}[kind]
        add(at * MS, process=NEMESIS, type="invoke", f=kind, value=value)
        links = [[t, o] for t in targets for o in ("b2", "b3", "c1") if kind == "partition"]
        told = value | {"targets": targets, "verified": True if targets else None}
        add(
            at * MS + 2,
            process=NEMESIS,
            type="ok" if targets else "fail",
            f=kind,
            value=told | ({"links": links} if links else {}),
        )
        if targets:
            end = (at + length) * MS
            add(end, process=NEMESIS, type="invoke", f=undo, value={"fault": position, "selector": selector})
            add(
                end + 2,
                process=NEMESIS,
                type="ok",
                f=undo,
                value=value | {"targets": targets, "verified": True},
            )
    offsets = dict.fromkeys(PARTITIONS, 0)
    step = max(1e5, (seconds - 8) * 1e9 / (count / SLOTS) - 9e6)
    for slot in range(SLOTS):
        process, now = slot, int(2.5e9 + rng.random() * 1e9)
        sequence = 0
        while now < (seconds - 6) * 1e9:
            now_ms = now / MS
            hurt = any(at < now_ms < at + length for at, length, _, _, _, targets in FAULTS if targets)
            partition = rng.choice(PARTITIONS)
            took = int(rng.lognormvariate(1.6, 0.7) * MS * (rng.choice((1, 1, 6)) if hurt else 1))
            outcome = "ok"
            if hurt and rng.random() < 0.05:
                outcome, took = rng.choice((("info", 3_000 * MS), ("fail", took)))
            if slot % 2 == 0:
                value: Any = f"{process}:{sequence}"
                sequence += 1
                add(now, process=process, type="invoke", f="send", key=partition, value=value)
                extra = {"offset": offsets[partition]} if outcome == "ok" else {}
                offsets[partition] += outcome == "ok"
                error = (
                    None
                    if outcome == "ok"
                    else rng.choice(("KafkaTimeoutError", "NotLeaderForPartitionError"))
                )
                add(
                    now + took,
                    process=process,
                    type=outcome,
                    f="send",
                    key=partition,
                    value=value,
                    error=error,
                    extra=extra,
                )
            else:
                add(now, process=process, type="invoke", f="poll")
                records = [
                    [partition, max(0, offsets[partition] - n), f"{process}:{n}"] for n in range(3, 0, -1)
                ]
                ok = outcome == "ok"
                add(
                    now + took,
                    process=process,
                    type=outcome,
                    f="poll",
                    value=records if ok else None,
                    error=None if ok else "timeout",
                )
            if outcome == "info":
                process += SLOTS
                sequence = 0
            now += took + int(step * (0.6 + 0.8 * rng.random()))
    _lost_records(add)
    raw.sort(key=lambda line: (line[0], line[1]))
    ops = [Op(index=i, time=time, **fields) for i, (time, _, fields) in enumerate(raw)]
    places = {f"{op.process}/{op.type}/{op.f}": op.index for op in ops if op.process in (900, 901, 902, 903)}
    places["fault 0"] = next(op.index for op in ops if op.process == NEMESIS and op.type == "ok")
    return ops, places


def _lost_records(add: Any) -> None:
    """Two sends acknowledged by an isolated leader, and the final read that does not have them."""
    for process, at, value, offset in ((900, 13_407, "900:42", 417), (901, 13_630, "901:7", 418)):
        add(at * MS, process=process, type="invoke", f="send", key="orders/0", value=value)
        add(
            (at + 4) * MS,
            process=process,
            type="ok",
            f="send",
            key="orders/0",
            value=value,
            extra={"offset": offset},
        )
    read = [["orders/0", o, f"{900 + o % 2 * 4}:{o}"] for o in range(400, 440)]
    add(55_000 * MS, process=902, type="invoke", f="final-read", key="orders/0", extra={"from": 400})
    add(
        55_180 * MS,
        process=902,
        type="ok",
        f="final-read",
        key="orders/0",
        value=read,
        extra={"from": 400, "next": 440, "end": 440, "reached": True},
    )


def _events(seconds: int) -> list[NodeEvent]:
    def change(
        at_ms: int, partition: str, leader: str | None, epoch: int, isr: str, reason: str
    ) -> NodeEvent:
        fields = {
            "partition": partition,
            "leader": leader,
            "leader_epoch": epoch,
            "isr": isr.split(),
            "elr": [],
            "partition_epoch": epoch * 3,
            "reason": reason,
        }
        return NodeEvent(at_ms * MS, "c1", "partition-changed", fields)

    events = [
        NodeEvent(700 * MS, "c1", "controller-elected", {"epoch": 1}),
        *(
            NodeEvent((900 + 40 * i) * MS, "c1", "broker-registered", {"broker": f"b{i}", "epoch": i})
            for i in (1, 2, 3)
        ),
        *(change(1_400, p, f"b{i + 1}", 0, "b1 b2 b3", "created") for i, p in enumerate(PARTITIONS)),
        *(
            change(1_900, f"__transaction_state/{i}", f"b{i % 3 + 1}", 0, "b1 b2 b3", "created")
            for i in range(4)
        ),
        NodeEvent(
            2_000 * MS, "b2", "coordinator-loaded", {"kind": "transactions", "partition": 0, "epoch": 0}
        ),
        change(11_100, "orders/1", "b2", 0, "b2 b3", "isr-shrunk"),
        change(11_150, "orders/2", "b3", 0, "b2 b3", "isr-shrunk"),
        NodeEvent(12_050 * MS, "c1", "broker-fenced", {"broker": "b1"}),
        change(12_060, "orders/0", "b2", 1, "b2 b3", "leader-elected"),
        NodeEvent(15_600 * MS, "c1", "broker-unfenced", {"broker": "b1"}),
        NodeEvent(15_900 * MS, "b1", "truncated", {"partition": "orders/0", "from": 431, "to": 417}),
        change(16_800, "orders/0", "b2", 1, "b1 b2 b3", "isr-expanded"),
        change(16_820, "orders/1", "b2", 0, "b1 b2 b3", "isr-expanded"),
        change(16_840, "orders/2", "b3", 0, "b1 b2 b3", "isr-expanded"),
        change(23_550, "orders/2", None, 1, "b3", "leader-lost"),
        change(24_300, "orders/2", "b1", 2, "b1 b2", "leader-elected"),
        NodeEvent(25_000 * MS, "c2", "controller-elected", {"epoch": 2}),
        change(27_100, "orders/2", "b1", 2, "b1 b2 b3", "isr-expanded"),
        NodeEvent(
            28_500 * MS,
            "b3",
            "coordinator-loaded",
            {"kind": "transactions", "partition": 0, "epoch": 1, "resumed": ["eos-0"]},
        ),
        NodeEvent(29_000 * MS, "b3", "producer-fenced", {"partition": "orders/1", "producer_id": 4001}),
        NodeEvent(seconds * 1000 * MS, "b1", "stopped", {}),
    ]
    return sorted(events, key=lambda e: e.time)


def _result(verdict: str, history: list[Op], at: dict[str, int], seconds: int) -> dict[str, Any]:
    anomalies = _anomalies(history, at) if verdict == "invalid" else ()
    outcomes = {
        t: sum(op.type == t and op.process != NEMESIS for op in history) for t in ("ok", "fail", "info")
    }
    log = Result(
        checker="log",
        verdict=Verdict(verdict),
        reason="the final read of orders/1 stopped at 812 of 830" if verdict == "unknown" else None,
        anomalies=anomalies,
        measures={
            "acknowledged": outcomes["ok"],
            "read": outcomes["ok"] - 2,
            "partitions": {"orders/0": 440},
        },
    )
    availability = Result(
        checker="availability",
        verdict=Verdict.VALID,
        measures={
            "longest-without-ok-s": {"send": 3.412, "poll": 0.921},
            "recovery-s": 1.207,
            "latency-ms": {"p50": 5.1, "p99": 212.4},
        },
    )
    return {
        "verdict": verdict,
        "reason": log.reason,
        "results": msgspec.to_builtins([log, availability]),
        "ops": outcomes,
        "situations": {
            "leader-change": 3,
            "isr-shrink": 2,
            "isr-expand": 4,
            "truncation": 1,
            "fenced-producer": 1,
            "coordinator-failover-during-commit": 1,
            "unclean-election": 0,
            "late-delivery": 0,
        },
        "steps": {"coordinator.prepare_commit.written": 212, "coordinator.marker.sent": 636},
        "faults": {"scheduled": 5, "fired": 5, "bitten": 4, "overlapping": 4},
        "problems": [],
        "warnings": [],
        "interrupted": False,
        "promise": "acks=1: acknowledged records survive the failure of anything but their leader; nothing is claimed when the leader fails.",
        "repro": "chaos test --system broker --workload produce --nemesis partition --seed 17 --set acks=1",
        "seed": 17,
        "phases": {
            "main_ns": int(2.4e9),
            "main_end_ns": int((seconds - 8) * 1e9),
            "healed_ns": int((seconds - 7.9) * 1e9),
            "recovered_ns": int((seconds - 6) * 1e9),
            "final_ns": int((seconds - 5.9) * 1e9),
            "end_ns": seconds * 10**9,
        },
        "sim_seconds": float(seconds),
        "wall_seconds": 2.41,
        "chaos_version": "0.1.0",
        "version": 1,
    }


def _anomalies(history: list[Op], at: dict[str, int]) -> tuple[Anomaly, ...]:
    read = at["902/ok/final-read"]

    def lost(process: int, value: str, offset: int, ack_ms: int) -> Anomaly:
        ack = at[f"{process}/ok/send"]
        return Anomaly(
            name="lost-write",
            summary=(
                f"orders/0 offset {offset}: {value}, acknowledged to producer {process} by b1 at {ack_ms / 1000:.3f} s, "
                "was on b1 only; b2 had become leader at epoch 1 at 12.060 s, and b1 truncated to 417 at 15.900 s."
            ),
            ops=(ack, read),
            blame=Blame.CONFIGURATION,
            where="orders/0",
            affected=1,
            out_of=1_204,
            faults=(at["fault 0"],),
            story=(
                Moment(9_000 * MS, "is cut from all other nodes, but not from clients", None, "b1"),
                Moment(12_060 * MS, "becomes leader of orders/0 at epoch 1, end offset 417", None, "b2"),
                Moment(
                    ack_ms * MS, f"acknowledges {value} at offset {offset}, still leading epoch 0", ack, "b1"
                ),
                Moment(15_200 * MS, "the partition heals", None, "b1"),
                Moment(15_900 * MS, "truncates orders/0 from 431 to 417", None, "b1"),
                Moment(55_180 * MS, f"the final read passes offset {offset} without {value}", read, "b2"),
            ),
        )

    return (
        lost(900, "900:42", 417, 13_411),
        lost(901, "901:7", 418, 13_634),
        Anomaly(
            name="nonmonotonic-end-offset",
            summary="orders/0: the end offset went back from 431 to 417.",
            ops=(at["902/invoke/final-read"],),
            blame=Blame.CONFIGURATION,
            where="orders/0",
            allowed=True,
        ),
    )


def _json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2))


def _lines(path: Path, values: Any) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(v) + b"\n" for v in values))


if __name__ == "__main__":
    from reports.html import write_report

    count = int((sys.argv[2:] or ["3000"])[0])
    where = write_sample(Path(sys.argv[1]), operations=count, seconds=max(60, count // 100))
    print(write_report(where))
