"""`rebalance-stuck`: the faults are over, members ask for work, and for longer than all time-outs take nobody has any.

A rebalance waits for members that do not answer until their session ends, for members that do until they come to join, and
both may meet a coordinator that fails over. What was tried during faults, or so soon after them that a time-out may
still run, proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checkers.group.turns import Turn
from checkers.narrative import seconds
from checkers.violations import Violation, distinct
from harness.history import History

NS_PER_MS = 1_000_000
SLACK_MS = 10_000.0


def patience_ms(config: Mapping[str, Any]) -> float:
    session = float(config.get("session.timeout.ms", 6_000))
    return session + float(config.get("max.poll.interval.ms", 30_000)) + SLACK_MS


def stuck(turns: Sequence[Turn], history: History, config: Mapping[str, Any]) -> list[Violation]:
    quiet_since = max((fault.time for fault in history.faults), default=0)
    tried = [turn for turn in turns if turn.operation.start >= quiet_since]
    if not tried or any(turn.assigned and turn.operation.outcome == "ok" for turn in tried):
        return []
    end = max(turn.operation.end or turn.operation.start for turn in tried)
    if end - tried[0].operation.start < patience_ms(config) * NS_PER_MS:
        return []
    return [
        Violation(
            name="rebalance-stuck",
            where="the group",
            sentence=(
                f"from {seconds(tried[0].operation.start)} to {seconds(end)} its members asked for work {len(tried)} times and "
                f"none had a partition, although the last fault had ended at {seconds(quiet_since)}"
            ),
            operations=distinct((tried[0].operation, tried[-1].operation)),
        )
    ]
