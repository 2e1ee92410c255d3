"""The cluster's metadata as the controller quorum committed it: an immutable image and the records that change it.

(Owner of the records and of `apply`: the control plane.)
"""

from __future__ import annotations

from typing import Any

import msgspec


class BrokerState(msgspec.Struct, frozen=True):
    """A registered broker. `epoch` is its broker epoch, cluster-monotone; `host`/`port` what clients get."""

    id: int
    name: str
    host: str
    port: int
    epoch: int
    fenced: bool


class PartitionState(msgspec.Struct, frozen=True):
    """One partition's replicated state (semantics 2.1). `leader` is -1 while there is none."""

    replicas: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    isr: tuple[int, ...]
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()


class TopicState(msgspec.Struct, frozen=True):
    """`id` is the topic's UUID as 16 bytes; `config` holds Kafka's topic keys that were given at creation."""

    name: str
    id: bytes
    partitions: tuple[PartitionState, ...]
    config: dict[str, Any] = msgspec.field(default_factory=dict)


class MetadataImage(msgspec.Struct, frozen=True):
    """Everything up to `offset` of the metadata log."""

    offset: int = -1
    controller_id: int = -1
    controller_epoch: int = -1
    brokers: dict[int, BrokerState] = msgspec.field(default_factory=dict)
    topics: dict[str, TopicState] = msgspec.field(default_factory=dict)
    features: dict[str, int] = msgspec.field(default_factory=dict)
    """Finalized features: `transaction.version` 0, 1 or 2."""
    next_producer_id: int = 0

    def partition(self, topic: str, index: int) -> PartitionState | None:
        state = self.topics.get(topic)
        if state is None or not 0 <= index < len(state.partitions):
            return None
        return state.partitions[index]
