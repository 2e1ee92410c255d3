"""What a configuration promises, in one line: the guarantee that the checkers hold it to (semantics 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def promise(config: Mapping[str, Any]) -> str:
    acks = str(config["acks"])
    if acks == "0":
        return "nothing: acks=0 acknowledges what was sent, not what was received"
    if acks == "1":
        return "an acknowledged record survives only as long as its leader leads (acks=1)"
    if config["unclean.leader.election.enable"]:
        return "acknowledged records can be lost: an unclean election makes a stale replica the truth"
    if (
        config["unclean.recovery.strategy"] == "aggressive"
        and config["eligible.leader.replicas.version"] >= 1
    ):
        return "acknowledged records can be lost: an aggressive recovery does not wait for the fullest log"
    losses = config["min.insync.replicas"] - 1
    if int(config["log.flush.interval.messages"]) == 1:
        durability = "no acknowledged record is lost to crashes or power loss"
    elif config["eligible.leader.replicas.version"] < 1 or losses == 0:
        durability = "no acknowledged record is lost to crashes that keep the page cache"
    else:
        durability = f"no acknowledged record is lost while at most {losses} replica(s) at a time lose power"
    if not config["enable.idempotence"]:
        return f"{durability}; retries may duplicate and reorder"
    duplicates = "none is duplicated or reordered within a producer session"
    if config["transaction.version"] < 2:
        return (
            f"{durability}; {duplicates}; a delayed request may hit the producer's next transaction (KIP-890)"
        )
    if config["isolation.level"] == "read_uncommitted":
        return f"{durability}; {duplicates}; consumers see aborted transactions (read_uncommitted)"
    return f"{durability}; {duplicates}; transactions are all or nothing to read_committed consumers"
