"""One partition as the events of controllers and leaders tell it; newer epochs win over later events."""

from __future__ import annotations

import msgspec

from harness.node import NodeEvent


class PartitionView(msgspec.Struct, frozen=True):
    """Names instead of ids. `leader` is None while there is none."""

    leader: str | None
    leader_epoch: int
    partition_epoch: int
    isr: tuple[str, ...]
    elr: tuple[str, ...]
    replicas: tuple[str, ...]
    reason: str = ""


def observe_partition(
    partitions: dict[str, PartitionView], event: NodeEvent
) -> tuple[PartitionView | None, PartitionView] | None:
    """Takes an event into `partitions`; (before, after) if it changed one. Leaders repeat what controllers
    said, so that a controller that dies between its commit and its report leaves no hole."""
    fields = event.fields
    if event.kind not in ("partition-changed", "leader-elected", "isr-shrunk", "isr-expanded"):
        return None
    name = fields["partition"]
    before = partitions.get(name)
    if before is not None and fields["partition_epoch"] <= before.partition_epoch:
        return None
    after = PartitionView(
        leader=fields.get("leader") if event.kind in ("partition-changed", "leader-elected") else event.node,
        leader_epoch=fields["leader_epoch"],
        partition_epoch=fields["partition_epoch"],
        isr=tuple(fields["isr"]),
        elr=tuple(fields.get("elr", ())),
        replicas=tuple(fields.get("replicas", before.replicas if before is not None else ())),
        reason=str(fields.get("reason", event.kind)),
    )
    partitions[name] = after
    return before, after
