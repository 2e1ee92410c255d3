"""Unclean recovery: a leader where ISR and ELR are both empty (semantics 2.1 rules 9 and 10, KIP-966).

Every replica that was known to hold all committed records has been through an unclean shutdown since. Most
have lost nothing: a killed process leaves its log with the operating system. So the logs decide, by
`unclean.recovery.strategy`:

`balanced`    waits for the logs of *all* of the last known members and takes the one that reaches furthest.
              There are at least min.insync.replicas of them, so as long as no more than that minus one have
              lost something, one still has everything; and a log that reaches further (by its last leader
              epoch, then by its end) contains what was committed in the other, as in a Raft election.
`aggressive`  after `unclean.recovery.timeout.ms` takes the furthest of those that have answered.
`none`        elects nobody: the partition waits for an administrator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from systems.broker.context import KafkaError
from systems.broker.controller.elections import Rules, elect_recovered
from systems.broker.controller.events import broker_name
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.metadata import NO_LEADER, MetadataImage, PartitionState, Record, TopicState
from systems.broker.replica_logs import LogEnd, ReplicaLog, ReplicaLogs, ReplicaLogsReply


def awaits_recovery(state: PartitionState) -> bool:
    """Nobody leads, and nobody is left who certainly has every committed record."""
    return state.leader == NO_LEADER and not state.isr and not state.elr and bool(state.last_known_elr)


class Choice(NamedTuple):
    """`complete`: every last known member's log was looked at."""

    leader: int
    complete: bool


def choose(
    image: MetadataImage,
    rules: Rules,
    topic: TopicState,
    state: PartitionState,
    logs: Mapping[int, LogEnd],
    *,
    overdue: bool,
) -> Choice | None:
    """Who may lead now, by what is known of the replicas' logs; None where it is too early to say (or the
    one that should is away). `overdue`: the time to wait for the others has passed."""
    strategy = rules.recovery_strategy(topic)
    complete = all(member in logs for member in state.last_known_elr)
    if strategy == "none" or not (complete or (strategy == "aggressive" and overdue)):
        return None
    among = state.last_known_elr if complete else tuple(b for b in state.replicas if b in logs)
    if not among:
        return None
    furthest = max(logs[member] for member in among)
    for broker in state.replicas:
        if broker in among and logs[broker] == furthest and image.unfenced(broker):
            return Choice(broker, complete)
    return None


class _Report(NamedTuple):
    """What one incarnation of a broker said, in one leaderless epoch."""

    broker_epoch: int
    leader_epoch: int
    end: LogEnd


class Recovery:
    """The active controller's memory of what the brokers have reported."""

    def __init__(self, log: MetadataLog, rules: Rules) -> None:
        self._log = log
        self._rules = rules
        self._timeout_s = int(rules.config.get("unclean.recovery.timeout.ms", 5000)) / 1000
        self._reports: dict[tuple[bytes, int], dict[int, _Report]] = {}
        self._since: dict[tuple[bytes, int, int], float] = {}

    def deactivate(self) -> None:
        self._reports.clear()
        self._since.clear()

    def on_replica_logs(self, message: ReplicaLogs) -> ReplicaLogsReply:
        """Notes what it says and elects whom that makes electable."""
        try:
            self._log.require_active()
            broker = self._log.pending.brokers.get(message.broker_id)
            if broker is not None and broker.epoch == message.broker_epoch:
                records = [r for log in message.logs for r in self._on_log(broker.id, broker.epoch, log)]
                if records:
                    appended = self._log.append(records)
                    appended.add_done_callback(lambda f: f.cancelled() or f.exception())
        except KafkaError:
            return ReplicaLogsReply(is_active=False)
        return ReplicaLogsReply(is_active=True)

    def _on_log(self, broker_id: int, broker_epoch: int, log: ReplicaLog) -> list[Record]:
        image = self._log.pending
        topic = image.topic_by_id(log.topic_id)
        state = None if topic is None else image.partition(topic.name, log.index)
        if topic is None or state is None or not awaits_recovery(state):
            return []
        if log.leader_epoch != state.leader_epoch:
            return []
        reports = self._reports.setdefault((log.topic_id, log.index), {})
        reports[broker_id] = _Report(broker_epoch, log.leader_epoch, LogEnd(log.last_epoch, log.end_offset))
        logs = self._valid(reports, state)
        choice = choose(image, self._rules, topic, state, logs, overdue=self._is_overdue(log))
        if choice is None:
            return []
        self._log.env.emit(
            "recovery-decided",
            partition=f"{topic.name}/{log.index}",
            leader=broker_name(self._log.env, choice.leader),
            logs={broker_name(self._log.env, b): list(end) for b, end in sorted(logs.items())},
            last_known=[broker_name(self._log.env, b) for b in state.last_known_elr],
        )
        return [elect_recovered(self._rules, topic, log.index, choice.leader, complete=choice.complete)]

    def _valid(self, reports: Mapping[int, _Report], state: PartitionState) -> dict[int, LogEnd]:
        """A report is void once its broker has registered anew: what it lost then it has not said."""
        brokers = self._log.pending.brokers
        return {
            broker: report.end
            for broker, report in reports.items()
            if report.leader_epoch == state.leader_epoch and report.broker_epoch == brokers[broker].epoch
        }

    def _is_overdue(self, log: ReplicaLog) -> bool:
        """Reports are repeated, so that it is enough to look when one comes."""
        now = asyncio.get_running_loop().time()
        since = self._since.setdefault((log.topic_id, log.index, log.leader_epoch), now)
        return now - since >= self._timeout_s
