"""Steps of transactions as a client takes them: what the coordinator is still busy with is asked for again."""

from __future__ import annotations

from .batches import Producer, batch
from .requests import READ_COMMITTED, end_txn, fetch, init_producer_id, produce
from .session import Answer, Session, settled

_STILL_ENDING = ("concurrent_transactions", "not_enough_replicas")


async def init(
    kafka: Session, *, current: Producer | None = None, version: int = 5
) -> tuple[Producer, Answer]:
    async def attempt() -> tuple[Producer, Answer] | None:
        producer, answer = await init_producer_id(kafka, kafka.own("x"), version=version, current=current)
        return None if answer["error_code"] == "concurrent_transactions" else (producer, answer)

    producer, answer = await settled(attempt, "the transaction before never ends")
    return producer, answer


async def send(
    kafka: Session,
    topic: str,
    value: str,
    producer: Producer,
    sequence: int,
    *,
    transactional_id: str | None = None,
    partition: int = 0,
    version: int = 12,
) -> Answer:
    """A transactional record. While the coordinator still completes the transaction before, it is refused
    with one of two retriable errors, as it happens: then again."""
    records = batch(value, producer=producer, sequence=sequence, transactional=True)
    node = await kafka.leader(topic, partition)

    async def attempt() -> Answer | None:
        answer = await produce(
            kafka,
            topic,
            records,
            version=version,
            transactional_id=transactional_id or kafka.own("x"),
            partition=partition,
            node=node,
        )
        return None if answer["error_code"] in _STILL_ENDING else answer

    return dict(await settled(attempt, "the transaction before never ends"))


async def end(
    kafka: Session, producer: Producer, *, commit: bool, version: int = 5, transactional_id: str | None = None
) -> tuple[Producer, Answer]:
    async def attempt() -> tuple[Producer, Answer] | None:
        following, answer = await end_txn(
            kafka, transactional_id or kafka.own("x"), producer, commit=commit, version=version
        )
        return None if answer["error_code"] == "concurrent_transactions" else (following, answer)

    following, answer = await settled(attempt, "the transaction never ends")
    return following, answer


async def stable(kafka: Session, topic: str, partition: int = 0) -> Answer:
    """What a read_committed consumer is given once no transaction is open."""

    async def attempt() -> Answer | None:
        answer = await fetch(
            kafka,
            topic,
            0,
            isolation=READ_COMMITTED,
            partition=partition,
            node=await kafka.leader(topic, partition),
        )
        return answer if answer["last_stable_offset"] == answer["high_watermark"] else None

    return dict(await settled(attempt, f"a transaction on {topic} stays open"))
