"""What the active controller reports of each committed change (`NodeEvent`s)."""

from __future__ import annotations

from collections.abc import Sequence

from harness.node import NodeEnvironment
from systems.broker.metadata import (
    NO_LEADER,
    FenceBroker,
    PartitionChange,
    Record,
    RegisterBroker,
    UnfenceBroker,
)


def broker_name(env: NodeEnvironment, broker_id: int) -> str:
    """The node's name; the id as text for a broker outside the topology."""
    for node in env.topology.with_role("broker"):
        if node.id == broker_id:
            return node.name
    return str(broker_id)


def emit_committed(env: NodeEnvironment, records: Sequence[Record], offset: int) -> None:
    """One event a change of the batch at `offset`."""
    for record in records:
        match record:
            case RegisterBroker():
                env.emit(
                    "broker-registered",
                    broker=broker_name(env, record.broker_id),
                    epoch=offset,
                    clean=record.clean,
                )
            case FenceBroker():
                env.emit("broker-fenced", broker=broker_name(env, record.broker_id))
            case UnfenceBroker():
                env.emit("broker-unfenced", broker=broker_name(env, record.broker_id))
            case PartitionChange():
                _emit_partition(env, record)
            case _:
                pass


def _emit_partition(env: NodeEnvironment, change: PartitionChange) -> None:
    state = change.state
    env.emit(
        "partition-changed",
        partition=f"{change.topic}/{change.index}",
        leader=None if state.leader == NO_LEADER else broker_name(env, state.leader),
        leader_epoch=state.leader_epoch,
        isr=[broker_name(env, b) for b in state.isr],
        elr=[broker_name(env, b) for b in state.elr],
        replicas=[broker_name(env, b) for b in state.replicas],
        partition_epoch=state.partition_epoch,
        reason=change.reason,
    )
