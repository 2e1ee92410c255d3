"""The cluster's metadata as the controller quorum committed it: an immutable image and the records that change it.

The controllers' replicated log (`systems.raft`) holds batches of records; a batch is one log entry, so it
is committed as a whole. Every node, controller or broker, folds the same batches into the same image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

NO_LEADER = -1
ELR_FEATURE = "eligible.leader.replicas.version"
TRANSACTION_FEATURE = "transaction.version"


class BrokerState(msgspec.Struct, frozen=True):
    """A registered broker. `epoch` is its broker epoch, cluster-monotone; `host`/`port` what clients get.
    `incarnation` names the process that registered. `fenced_at` is the offset of the log at which it was
    last fenced: what it led until then it knows to be gone only when its metadata reaches that far."""

    id: int
    name: str
    host: str
    port: int
    epoch: int
    fenced: bool
    incarnation: bytes = b""
    fenced_at: int = -1


class PartitionState(msgspec.Struct, frozen=True):
    """One partition's replicated state (semantics 2.1). `leader` is -1 while there is none.

    While the ISR is below min.insync.replicas, `isr`, `elr` and `last_known_elr` together are the replicas
    that had every committed record; those in the last went through an unclean shutdown since (KIP-966)."""

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


DEFAULT_ENTITY = ""
"""In place of a user or client id: whoever has no quota of their own."""


class QuotaEntity(msgspec.Struct, frozen=True):
    """Whose quota it is: a user's, a client id's, or a client id's of a user. None where that does not matter."""

    user: str | None = None
    client_id: str | None = None


class ClientQuotas(msgspec.Struct, frozen=True):
    """`values` by Kafka's keys (`producer_byte_rate`, …)."""

    entity: QuotaEntity
    values: dict[str, float]


class MetadataImage(msgspec.Struct, frozen=True):
    """Everything up to `offset` of the metadata log."""

    offset: int = -1
    controller_id: int = -1
    controller_epoch: int = -1
    brokers: dict[int, BrokerState] = msgspec.field(default_factory=dict)
    topics: dict[str, TopicState] = msgspec.field(default_factory=dict)
    features: dict[str, int] = msgspec.field(default_factory=dict)
    """Finalized features: `transaction.version` 0, 1 or 2; `eligible.leader.replicas.version` 0 or 1."""
    next_producer_id: int = 0
    quotas: tuple[ClientQuotas, ...] = ()

    def partition(self, topic: str, index: int) -> PartitionState | None:
        state = self.topics.get(topic)
        if state is None or not 0 <= index < len(state.partitions):
            return None
        return state.partitions[index]

    def topic_by_id(self, topic_id: bytes) -> TopicState | None:
        return next((t for t in self.topics.values() if t.id == topic_id), None)

    def unfenced(self, broker_id: int) -> bool:
        broker = self.brokers.get(broker_id)
        return broker is not None and not broker.fenced


class LeaderChange(msgspec.Struct, frozen=True, tag="leader"):
    """A controller became active in `epoch` (its Raft term); the first entry of every term."""

    controller_id: int
    epoch: int


class RegisterBroker(msgspec.Struct, frozen=True, tag="register"):
    """Its position in the log is the broker epoch. `clean`: after an orderly stop; `fenced` is always
    true where rule 1 is kept."""

    broker_id: int
    name: str
    host: str
    port: int
    incarnation: bytes
    clean: bool
    fenced: bool = True


class FenceBroker(msgspec.Struct, frozen=True, tag="fence"):
    broker_id: int


class UnfenceBroker(msgspec.Struct, frozen=True, tag="unfence"):
    broker_id: int


class Topic(msgspec.Struct, frozen=True, tag="topic"):
    name: str
    id: bytes
    config: dict[str, Any]


class RemoveTopic(msgspec.Struct, frozen=True, tag="remove-topic"):
    """With all its partitions. A topic that gets the same name later has another id."""

    name: str


class TopicConfigChange(msgspec.Struct, frozen=True, tag="topic-config"):
    """All of a topic's own keys."""

    name: str
    config: dict[str, Any]


class PartitionChange(msgspec.Struct, frozen=True, tag="partition"):
    """A partition's whole new state; creates it where `index` is the next one. `reason` is for people."""

    topic: str
    index: int
    state: PartitionState
    reason: str


class ProducerIds(msgspec.Struct, frozen=True, tag="producer-ids"):
    """All ids below `next_producer_id` are handed out."""

    next_producer_id: int


class FeatureLevel(msgspec.Struct, frozen=True, tag="feature"):
    name: str
    level: int


class QuotaChange(msgspec.Struct, frozen=True, tag="quota"):
    """All of an entity's quotas; without any it has none of its own."""

    entity: QuotaEntity
    values: dict[str, float]


Record: TypeAlias = (
    LeaderChange
    | RegisterBroker
    | FenceBroker
    | UnfenceBroker
    | Topic
    | RemoveTopic
    | TopicConfigChange
    | PartitionChange
    | ProducerIds
    | FeatureLevel
    | QuotaChange
)

_encoder = msgspec.msgpack.Encoder()
_batch_decoder: msgspec.msgpack.Decoder[list[Record]] = msgspec.msgpack.Decoder(list[Record])
_image_decoder = msgspec.msgpack.Decoder(MetadataImage)


def encode_batch(records: Sequence[Record]) -> bytes:
    return _encoder.encode(records)


def decode_batch(data: bytes) -> list[Record]:
    """An empty entry holds no records."""
    return _batch_decoder.decode(data) if data else []


def encode_image(image: MetadataImage) -> bytes:
    return _encoder.encode(image)


def decode_image(data: bytes) -> MetadataImage:
    return _image_decoder.decode(data)


def apply_batch(image: MetadataImage, records: Sequence[Record], offset: int) -> MetadataImage:
    """The image after the batch at `offset` of the log, which must be the next one (semantics 2.2)."""
    if offset <= image.offset:
        raise AssertionError(f"metadata offset {offset} applied after {image.offset}")
    for record in records:
        image = apply(image, record, offset)
    return msgspec.structs.replace(image, offset=offset)


def apply(image: MetadataImage, record: Record, offset: int) -> MetadataImage:
    """The image with one record of the batch at `offset` applied; the image's own offset stays."""
    match record:
        case LeaderChange():
            return msgspec.structs.replace(
                image, controller_id=record.controller_id, controller_epoch=record.epoch
            )
        case RegisterBroker():
            return _with_broker(
                image,
                BrokerState(
                    id=record.broker_id,
                    name=record.name,
                    host=record.host,
                    port=record.port,
                    epoch=offset,
                    fenced=record.fenced,
                    incarnation=record.incarnation,
                    fenced_at=offset,
                ),
            )
        case FenceBroker():
            broker = image.brokers[record.broker_id]
            return _with_broker(image, msgspec.structs.replace(broker, fenced=True, fenced_at=offset))
        case UnfenceBroker():
            broker = image.brokers[record.broker_id]
            return _with_broker(image, msgspec.structs.replace(broker, fenced=False))
        case Topic():
            return _with_topic(image, TopicState(record.name, record.id, (), record.config))
        case RemoveTopic():
            left = {name: topic for name, topic in image.topics.items() if name != record.name}
            return msgspec.structs.replace(image, topics=left)
        case TopicConfigChange():
            configured = msgspec.structs.replace(image.topics[record.name], config=record.config)
            return _with_topic(image, configured)
        case PartitionChange():
            topic = image.topics[record.topic]
            partitions = (
                *topic.partitions[: record.index],
                record.state,
                *topic.partitions[record.index + 1 :],
            )
            return _with_topic(image, msgspec.structs.replace(topic, partitions=partitions))
        case ProducerIds():
            return msgspec.structs.replace(image, next_producer_id=record.next_producer_id)
        case FeatureLevel():
            return msgspec.structs.replace(image, features={**image.features, record.name: record.level})
        case QuotaChange():
            others = tuple(quotas for quotas in image.quotas if quotas.entity != record.entity)
            changed = (ClientQuotas(record.entity, record.values),) if record.values else ()
            return msgspec.structs.replace(image, quotas=(*others, *changed))


def _with_broker(image: MetadataImage, broker: BrokerState) -> MetadataImage:
    return msgspec.structs.replace(image, brokers={**image.brokers, broker.id: broker})


def _with_topic(image: MetadataImage, topic: TopicState) -> MetadataImage:
    return msgspec.structs.replace(image, topics={**image.topics, topic.name: topic})
