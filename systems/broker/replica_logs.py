"""What replicas tell the controller of their logs where a partition has lost its leader and every heir.

Apache Kafka's controller asks for it (GetReplicaLogInfo, KIP-966); here the brokers, who see in the
metadata that they are needed, send it by themselves, in the frames of the controllers' own port.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from systems.raft import messages as raft
from systems.rpc import Codec


class LogEnd(NamedTuple):
    """How far a log reaches: the larger of two contains whatever was committed in the smaller one."""

    last_epoch: int
    end_offset: int


class ReplicaLog(msgspec.Struct, frozen=True, array_like=True):
    """One replica's log, as it stands still while the partition has no leader in `leader_epoch`."""

    topic_id: bytes
    index: int
    leader_epoch: int
    last_epoch: int
    end_offset: int


class ReplicaLogs(msgspec.Struct, frozen=True, array_like=True, tag="replica-logs"):
    """From the broker with that id and broker epoch."""

    broker_id: int
    broker_epoch: int
    logs: tuple[ReplicaLog, ...]


class ReplicaLogsReply(msgspec.Struct, frozen=True, array_like=True, tag="replica-logs-noted"):
    """`is_active`: whether a controller heard it that can do something about it."""

    is_active: bool


codec = Codec(*raft.MESSAGES, ReplicaLogs, ReplicaLogsReply)
"""What is spoken on a controller's port."""
