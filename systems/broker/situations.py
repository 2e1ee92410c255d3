"""The situations a run may reach: what a campaign must have seen before its silence means anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.node import NodeEvent
from systems.broker.partition_view import PartitionView, observe_partition

SITUATIONS: dict[str, str] = {
    "leader-change": "a partition got another leader",
    "isr-shrink": "a replica left an in-sync replica set",
    "isr-expand": "a replica joined an in-sync replica set",
    "isr-of-one": "an in-sync replica set shrank to a single replica",
    "truncation": "a replica cut records that its leader does not have",
    "leaderless": "a partition had no leader",
    "elr-election": "a leader was elected from the eligible leader replicas (KIP-966)",
    "recovery": "a leader was chosen by the logs of all last known members of ISR and ELR (KIP-966)",
    "unclean-election": "a replica became leader that may lack committed records",
    "log-start-advanced": "a log's beginning moved on, by retention or because somebody asked",
    "segment-deleted": "a segment was removed from the beginning of a log",
    "log-compacted": "a cleaner removed records that have a later one of their key",
    "broker-fenced": "the controller took a broker out of service",
    "controller-change": "another controller became active",
    "coordinator-failover": "a transaction coordinator was replaced",
    "coordinator-failover-during-commit": "a transaction coordinator was replaced after it had decided to commit",
    "aborted-transaction": "a transaction was aborted",
    "fenced-producer": "a producer of an older epoch was refused",
    "duplicate-recognised": "a retried batch was recognised and not appended again",
    "late-delivery": "bytes that a cut had kept arrived after the heal",
    "late-request-refused": "a request of an epoch that was over arrived, and was refused",
    "group-rebalance": "a consumer group began a new generation",
    "fenced-commit": "an offset commit of a former group member was refused",
    "group-coordinator-failover": "a consumer group got another coordinator, which replayed what the group had committed",
    "group-member-expired": "a member of a consumer group was not heard of for as long as its session",
    "group-offsets-expired": "committed offsets of a consumer group were forgotten after their retention",
}


REACHED_BY: dict[str, tuple[str, ...]] = {
    "leader-change": ("kill", "power-all"),
    "isr-shrink": ("kill", "partition", "pause"),
    "isr-expand": ("kill", "partition", "pause"),
}
"""What any campaign of such a nemesis reaches (`harness.coverage`)."""

REACHED_WITH: dict[str, str] = {
    "leader-change": "--workload produce --nemesis kill",
    "isr-shrink": "--workload produce --nemesis kill",
    "isr-expand": "--workload produce --nemesis kill",
    "isr-of-one": "--workload eos --nemesis unclean",
    "truncation": "--workload produce --nemesis unclean --set unclean.leader.election.enable=true",
    "leaderless": "--workload eos --nemesis unclean",
    "elr-election": "--workload eos --nemesis power",
    "recovery": "--workload produce --nemesis power-all",
    "unclean-election": "--workload produce --nemesis unclean --set unclean.leader.election.enable=true",
    "log-start-advanced": "--workload produce --set log.retention.ms=5000 --set log.segment.bytes=8192",
    "segment-deleted": "--workload produce --set log.retention.ms=5000 --set log.segment.bytes=8192",
    "log-compacted": "--workload compacted-kv --nemesis kill",
    "broker-fenced": "--workload produce --nemesis kill",
    "controller-change": "--workload produce --nemesis kill",
    "coordinator-failover": "--workload eos --nemesis kill",
    "coordinator-failover-during-commit": "--workload eos --nemesis kill --runs 40",
    "aborted-transaction": "--workload eos --nemesis none",
    "fenced-producer": "--workload eos --nemesis kill",
    "duplicate-recognised": "--workload produce --nemesis partition",
    "late-delivery": "--workload produce --nemesis partition",
    "late-request-refused": "--workload compacted-kv --nemesis kill",
    "group-rebalance": "--workload group --nemesis kill",
    "fenced-commit": "--workload group --nemesis kill",
    "group-coordinator-failover": "--workload group --nemesis kill",
    "group-member-expired": "--workload group --nemesis kill",
    "group-offsets-expired": "--workload group --set group.break.ms=12000 --set session.timeout.ms=3000 "
    "--set offsets.retention.minutes=0.03 --set offsets.retention.check.interval.ms=300",
}
"""What reaches it, in twenty seeds where nothing else is said."""


def count_situations(events: Sequence[NodeEvent]) -> dict[str, int]:
    """How often each was reached; zeroes included."""
    counts = dict.fromkeys(SITUATIONS, 0)
    partitions: dict[str, PartitionView] = {}
    transactions: dict[str, str] = {}
    coordinated: dict[tuple[str, int], int] = {}
    """Leader epoch in which a coordinator's partition was loaded last: a replay in the same one replaces nobody."""
    controller = ""
    for event in events:
        fields = event.fields
        change = observe_partition(partitions, event)
        if change is not None:
            _count_change(counts, *change)
        match event.kind:
            case "truncated":
                counts["truncation"] += 1
            case "log-start-advanced":
                counts["log-start-advanced"] += 1
            case "segment-deleted":
                counts["segment-deleted"] += 1
            case "log-compacted" if fields["removed"]:
                counts["log-compacted"] += 1
            case "broker-fenced":
                counts["broker-fenced"] += 1
            case "controller-elected":
                if controller and controller != event.node:
                    counts["controller-change"] += 1
                controller = event.node
            case "txn-state":
                transactions[fields["transactional_id"]] = fields["state"]
            case "txn-aborted":
                counts["aborted-transaction"] += 1
            case "coordinator-loaded":
                place = fields["coordinator"], fields["partition"]
                if coordinated.setdefault(place, fields["epoch"]) < fields["epoch"]:
                    _count_failover(counts, transactions, fields["coordinator"], fields["resumed"])
                coordinated[place] = fields["epoch"]
            case "producer-fenced":
                counts["fenced-producer"] += 1
            case "duplicate-recognised":
                counts["duplicate-recognised"] += 1
            case "late-delivery":
                counts["late-delivery"] += 1
            case "late-request":
                counts["late-request-refused"] += 1
            case "group-generation":
                counts["group-rebalance"] += 1
            case "commit-fenced":
                counts["fenced-commit"] += 1
            case "group-member-expired":
                counts["group-member-expired"] += 1
            case "group-offsets-expired":
                counts["group-offsets-expired"] += 1
    return counts


def _count_failover(
    counts: dict[str, int], transactions: Mapping[str, str], coordinator: str, resumed: Sequence[str]
) -> None:
    if coordinator == "groups":
        counts["group-coordinator-failover"] += len(resumed)
        return
    counts["coordinator-failover"] += 1
    if any(transactions.get(t) == "PrepareCommit" for t in resumed):
        counts["coordinator-failover-during-commit"] += 1


def _count_change(counts: dict[str, int], before: PartitionView | None, after: PartitionView) -> None:
    if after.reason == "elr-elected":
        counts["elr-election"] += 1
    elif after.reason == "recovered":
        counts["recovery"] += 1
    elif after.reason == "unclean-elected":
        counts["unclean-election"] += 1
    if before is None:
        return
    if after.leader is None and before.leader is not None:
        counts["leaderless"] += 1
    elif after.leader is not None and after.leader != before.leader:
        counts["leader-change"] += 1
    if any(member not in after.isr for member in before.isr):
        counts["isr-shrink"] += 1
        if len(after.isr) == 1:
            counts["isr-of-one"] += 1
    if any(member not in before.isr for member in after.isr):
        counts["isr-expand"] += 1
