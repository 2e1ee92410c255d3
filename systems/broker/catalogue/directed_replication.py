"""Schedules that reach mistakes of replication and of the controllers by themselves.

One partition, `orders/0`: `b1` leads it, `b2` is the first that is elected after it, `b3` the second. A new leader is
there about three seconds after the old one died (`broker.session.timeout.ms`).
"""

from __future__ import annotations

from typing import Any

from harness.catalogue import Directed
from harness.schedule import Fault, Schedule
from systems.broker.catalogue.faults import cut, kill, late, power

ONE_PARTITION = {"produce.partitions": 1}
LEADER = "leader(orders/0)"


def _on_one_partition(
    *faults: Fault, time_limit_ms: int = 24_000, rate: float = 60.0, **more: Any
) -> Directed:
    return Directed(
        workload="produce",
        schedule=Schedule(tuple(sorted(faults, key=lambda fault: fault.at_ms))),
        settings=ONE_PARTITION | more.pop("settings", {}),
        time_limit_ms=time_limit_ms,
        rate=rate,
        **more,
    )


SCHEDULES: dict[str, Directed] = {
    # S4, then the replica that would be elected instead has lost its log too.
    "elr-keeps-unclean-replica": _on_one_partition(
        cut("b2+b3", 3_000, 14_000, to="b1"),
        power("b2", 7_000, 1_000),
        kill("b1", 12_500, 6_000),
    ),
    # S6: b3's last fetch makes records committed, and b3 never hears of it. It follows b2, cuts them off, and leads
    # before it has them again.
    "truncate-to-hw": _on_one_partition(
        late("b3", 3_000, 4_000, 200, kinds=["fetch"], to="b1"),
        cut("b2", 4_000, 14_000, to="b3"),
        cut("b1", 6_000, 9_000, to="b3", direction="out"),
        kill("b1", 6_400, 12_000),
        kill("b2", 10_400, 9_000),
    ),
    # S7, where the first leader comes back uncleanly: b2 keeps what it wrote where b1 had written something else.
    "kip279-fast-failover-divergence": _on_one_partition(
        cut("b3", 4_000, 12_000, to="b1+b2"),
        cut("b1", 4_000, 6_000, clients=False),
        cut("b1", 6_000, 4_000, shape="clients"),
        kill("b3", 8_000, 7_000),
        kill("b2", 9_500, 5_000),
        kill("b1", 19_000, 5_000),
        settings={"unclean.leader.election.enable": True},
        time_limit_ms=28_000,
        concurrency=16,
    ),
    # b3 hears nothing of the controllers. b2 leads, b1 takes its log over and leads again: b3 still fetches from it,
    # behind records of its own that b1 no longer has.
    "fetch-not-epoch-fenced": _on_one_partition(
        late("b3", 2_500, 13_600, 2_800, kinds=["observed"], to="controllers", direction="in"),
        cut("b1", 4_000, 5_000, to="b2+controllers"),
        kill("b2", 12_500, 8_000),
        kill("b1", 19_200, 5_000),
        time_limit_ms=26_000,
        concurrency=16,
    ),
    # S8: b2 leads with a high watermark from before b3 fell behind. What it tells b3 is late, so that b3 stays
    # behind, and is asked for all the same.
    "isr-expand-below-leader-epoch-start": _on_one_partition(
        cut("b3", 3_000, 5_500, to="b1", how="reject"),
        cut("b1", 4_800, 9_000, to="b2", direction="out"),
        kill("b1", 6_400, 10_000),
        late("b2", 6_400, 9_000, 2_600, kinds=["fetch-response"], to="b3", direction="out"),
        kill("b2", 10_400, 9_000),
    ),
    # S9: b1 has asked for b2 and does not hear that it is in sync again, when b2 is cut off.
    "hw-from-committed-isr-only": _on_one_partition(
        cut("b2", 3_000, 4_500, to="b1", how="reject"),
        late(
            "b1",
            7_000,
            9_000,
            60_000,
            kinds=["observed", "alter-partition-response"],
            to="controllers",
            direction="in",
        ),
        cut("b2", 7_400, 12_000, to="b1", step="controller.alter_partition.committed"),
        kill("b1", 9_500, 9_000),
    ),
    "list-offsets-regress": Directed(
        workload="offsets",
        schedule=Schedule(
            (
                late("b2", 3_000, 4_000, 200, kinds=["fetch"], to="b1"),
                cut("b2", 4_000, 12_000, to="b3"),
                cut("b1", 6_000, 9_000, to="b2", direction="out"),
                kill("b1", 6_400, 9_000),
            )
        ),
        settings={"offsets.partitions": 1},
    ),
    "fast-reboot-without-fencing": _on_one_partition(
        power("b1", 6_000, 500), power("b1", 12_000, 500), time_limit_ms=20_000
    ),
    # S5: b1 asks for b2, and is heard only when b2 has come back without its log.
    "stale-broker-epoch-isr-join": _on_one_partition(
        cut("b2", 3_000, 4_000, to="b1", how="reject"),
        late("b1", 6_500, 9_000, 5_500, kinds=["alter-partition"], to="controllers", direction="out"),
        power("b2", 8_000, 1_000),
        cut("b2", 8_000, 12_000, to="b1", how="reject"),
        kill("b1", 13_500, 6_000),
    ),
    # b1 asks for b2 twice. The second request is heard first; b2 joins, falls behind and leaves; then the first one
    # arrives.
    "alter-partition-ignores-partition-epoch": _on_one_partition(
        cut("b2", 3_000, 4_000, to="b1", how="reject"),
        late("b1", 6_500, 1_500, 6_500, kinds=["alter-partition"], to="controllers", direction="out"),
        cut("b2", 9_500, 12_000, to="b1", how="reject"),
        late("b1", 13_000, 2_500, 2_000, kinds=["alter-partition"], to="controllers", direction="out"),
        kill("b1", 14_400, 6_000),
    ),
    # The active controller keeps b2 and b3 and loses everybody else: it makes b2 the leader, and no majority knows.
    # Where there is one, b1 leads all the time.
    "zombie-controller-not-fenced": _on_one_partition(
        cut("controller", 4_000, 9_000, to="controllers+b1"),
        cut("b2+b3", 4_000, 9_000, to="controllers-controller"),
        cut("b1", 10_300, 1_500, shape="clients", how="reject"),
        kill("b3", 13_500, 1_500),
        kill("b2", 16_000, 2_000),
        settings={"controller.quorum.fetch.timeout.ms": 12_000, "broker.session.timeout.ms": 6_000},
    ),
    # c3 gives its vote to c2, dies, and gives it to c1. Nobody hears c2 until both lead; then each has the word of
    # its own term from c3. What b1 tells c2 of b2, c1 never knows.
    "controller-vote-not-persisted": _on_one_partition(
        kill("controller-c1", 500, 1_500),
        late("c2", 500, 3_700, 2_600, kinds=["vote"], to="controllers", direction="out"),
        late("c3", 500, 12_000, 2_600, kinds=["vote"], to="controllers", direction="out"),
        late("c2", 4_500, 6_500, 5_000, kinds=["append", "voted"], to="controllers", direction="out"),
        kill("c1", 5_000, 2_000),
        kill("c3", 5_000, 2_500, step="raft.vote.granted"),
        cut("b2", 12_500, 6_000, to="b1", how="reject"),
        kill("c2", 17_000, 8_000),
        kill("b1", 18_000, 8_500),
        settings={"controller.quorum.fetch.timeout.ms": 8_000, "broker.session.timeout.ms": 7_000},
        time_limit_ms=30_000,
    ),
    # b1 alone is in sync and loses the controllers, not its clients.
    "unclean-zombie-dual-leader": _on_one_partition(
        cut("b2+b3", 3_000, 11_000, to="b1"),
        cut("b1", 7_000, 7_000, to="controllers"),
        settings={"unclean.leader.election.enable": True, "min.insync.replicas": 1},
        time_limit_ms=20_000,
    ),
    # What b1 told b3 before it died reaches b3 when b2 leads, and b3 has as yet only the first record of its epoch.
    # (All is quiet when b2 and b3 are cut off, so that neither is ahead of the other.)
    "stale-fetch-response-applied": _on_one_partition(
        cut("b1", 3_000, 1_200, shape="clients", how="hold"),
        late("b3", 3_300, 800, 2_500, kinds=["fetch"], to="b1", direction="out"),
        cut("b2", 4_000, 14_000, to="b1"),
        late("b1", 5_000, 1_450, 5_600, kinds=["fetch-response"], to="b3", direction="out"),
        kill("b1", 6_500, 12_000),
        late("b2", 7_000, 6_000, 1_500, kinds=["fetch-response"], to="b3", direction="out"),
        kill("b2", 14_500, 7_000),
        settings={"replica.socket.timeout.ms": 10_000, "replica.lag.time.max.ms": 10_000},
        time_limit_ms=26_000,
        concurrency=32,
    ),
    # The end of b2's log is torn, again and again; then b2 leads.
    "log-recovery-keeps-torn-batch": _on_one_partition(
        Fault(at_ms=2_500, kind="slow-disk", selector="b2", duration_ms=14_000, params={"latency_ms": 100.0}),
        *(power("b2", at_ms, 500, torn=True) for at_ms in (3_500, 9_000, 14_500)),
        kill("b1", 20_000, 5_000),
        settings={"produce.batch.records": 10, "log.flush.interval.messages": 1},
        time_limit_ms=26_000,
    ),
    # Figure 8. c1 dies with a change that only it has (b2 leaves the ISR), c3 with the beginning of a term that only it
    # has. c1 leads again and gives c2 the change, but not yet anything of its new term, when it dies for good.
    "controller-commit-old-term-by-count": _on_one_partition(
        kill("controller-c1", 500, 1_500),
        late("c2", 500, 24_000, 2_600, kinds=["vote"], to="controllers", direction="out"),
        late("c3", 500, 3_700, 2_600, kinds=["vote"], to="controllers", direction="out"),
        cut("b2", 3_800, 24_000, to="b1", how="reject"),
        cut("c1", 4_500, 4_000, to="c2+c3"),
        late("c3", 4_500, 3_600, 6_000, kinds=["append"], to="controllers", direction="out"),
        kill("c1", 7_500, 1_300),
        kill("c3", 8_000, 11_500),
        late("c1", 8_600, 11_000, 3_000, kinds=["append"], to="c2", direction="out"),
        kill("c1", 19_000, 9_000),
        kill("b1", 23_000, 6_000),
        settings={
            "controller.quorum.append.max.entries": 1,
            "controller.quorum.fetch.timeout.ms": 12_000,
        },
        time_limit_ms=32_000,
    ),
}
