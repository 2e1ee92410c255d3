"""Schedules that reach mistakes of producers, transactions and retention (`directed`)."""

from __future__ import annotations

from harness.catalogue import Directed
from harness.schedule import Schedule
from systems.broker.catalogue.faults import cut, late, pause
from systems.broker.catalogue.producer import IMPATIENT, PIPELINED
from systems.broker.catalogue.transactions import ABANDONED, SLOW_MEMBERS, UNDISTURBED

# What is under way to a leader that nobody hears waits for its time-out, and what comes after it goes to its successor.
_OVERTAKEN = Schedule(
    tuple(cut(f"leader(orders/{n})", 3_000 + 7_000 * n, 6_000, clients=True) for n in range(3))
)

# Of several batches the answers are lost.
_ANSWERS_LOST = Schedule(
    tuple(
        cut(f"leader(orders/{n})", 3_000 + 4_000 * n, 3_500, shape="clients", direction="out")
        for n in range(3)
    )
)

# The end of a transaction is held up until its client gives up and asks again; it arrives behind the second one.
_END_HELD = Schedule(
    tuple(
        late(
            "coordinator(eos-0)+coordinator(eos-1)",
            at_ms,
            1_200,
            2_600,
            to="clients",
            direction="in",
            step="group.transactional_offsets.pending",
        )
        for at_ms in range(3_000, 40_000, 3_300)
    )
)
# Records are held up until their client gives them up and aborts; they arrive behind the marker.
_RECORDS_HELD = Schedule(
    tuple(
        cut(f"leader(output/{turn % 4})", at_ms, 3_200, shape="clients", direction="in")
        for turn, at_ms in enumerate(range(3_000, 34_000, 4_000))
    )
)
# The group's coordinator sleeps until another one has its place, and wakes with questions waiting.
_COORDINATOR_SLEEPS = Schedule(
    tuple(pause("group-coordinator(eos)", at_ms, 4_500) for at_ms in range(3_000, 31_000, 7_500))
)

# Commits wait at a coordinator that only clients still reach, until it has heard of its successor.
_COMMITS_WAIT = Schedule(
    tuple(
        cut("group-coordinator(workers)", at_ms, 2_000)
        for at_ms in (4_000, 8_700, 14_100, 18_900, 24_400, 29_000)
    )
)

SCHEDULES: dict[str, Directed] = {
    "inflight-reorder": Directed(
        workload="produce",
        schedule=_OVERTAKEN,
        settings=PIPELINED | IMPATIENT | {"enable.idempotence": False},
        time_limit_ms=24_000,
        nodes=5,
    ),
    "sequence-gap-accepted": Directed(
        workload="produce",
        schedule=_OVERTAKEN,
        settings=PIPELINED | IMPATIENT,
        time_limit_ms=24_000,
        nodes=5,
    ),
    "dedupe-window-too-small": Directed(workload="produce", schedule=_ANSWERS_LOST, settings=PIPELINED),
    "oos-then-client-epoch-bump": Directed(workload="produce", schedule=_ANSWERS_LOST),
    "delayed-endtxn-hits-next-txn": Directed(
        workload="eos",
        schedule=_END_HELD,
        settings=UNDISTURBED
        | {
            "transaction.version": 1,
            "eos.abort.probability": 0.5,
            "request.timeout.ms": 1500,
            "sim.latency.min.ms": 4,
            "sim.latency.max.ms": 16,
        },
        time_limit_ms=42_000,
        rate=100.0,
    ),
    "late-produce-after-abort": Directed(
        workload="eos",
        schedule=_RECORDS_HELD,
        settings=UNDISTURBED | {"transaction.version": 1, "delivery.timeout.ms": 2000},
        time_limit_ms=36_000,
        rate=120.0,
    ),
    "txn-timeout-not-enforced": Directed(workload="eos", schedule=Schedule(), settings=ABANDONED),
    "coordinator-serves-without-lease": Directed(
        workload="eos",
        schedule=_COORDINATOR_SLEEPS,
        settings=UNDISTURBED
        | {
            "eos.abort.probability": 0.2,
            "broker.session.timeout.ms": 1500,
            "broker.heartbeat.interval.ms": 300,
            "request.timeout.ms": 2000,
        },
        time_limit_ms=34_000,
        rate=200.0,
    ),
    "stale-group-coordinator-acks": Directed(
        workload="group",
        schedule=_COMMITS_WAIT,
        settings=SLOW_MEMBERS,
        time_limit_ms=36_000,
        rate=100.0,
    ),
    "write-without-add-partition": Directed(
        workload="txn",
        schedule=Schedule(),
        settings={
            "transaction.add.partitions": "first",
            "transaction.partition.verification.enable": False,
        },
        time_limit_ms=8_000,
        rate=30.0,
    ),
    "restart-new-pid-resend": Directed(
        workload="eos",
        schedule=Schedule(),
        settings={
            "eos.producer": "idempotent",
            "eos.offsets": "separate",
            "eos.crash.probability": 0.2,
            "eos.stall.probability": 0,
        },
        time_limit_ms=10_000,
        rate=100.0,
    ),
}
