"""Asking the coordinator whether a producer may write to a partition now (KIP-890, semantics 2.4.2)."""

from __future__ import annotations

from collections.abc import Sequence

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, KafkaError
from systems.broker.coordinator_log import TRANSACTIONS, coordinator_partition
from systems.broker.transactions.state import Partition

ADD_PARTITIONS_TO_TXN = 24
_VERSION = 5
_TIMEOUT_MS = 1000


async def verify(
    broker: Broker,
    *,
    transactional_id: str,
    producer_id: int,
    producer_epoch: int,
    partitions: Sequence[Partition],
    add: bool,
) -> None:
    """Returns where all the partitions are part of the producer's ongoing transaction; with `add` (a client
    of transaction version 2) they become so. Raises `KafkaError` otherwise: COORDINATOR_NOT_AVAILABLE or
    NETWORK_EXCEPTION where the coordinator could not be asked."""
    topic = broker.image.topics.get(TRANSACTIONS)
    if topic is None:
        raise KafkaError(ErrorCode.coordinator_not_available, f"{TRANSACTIONS} does not exist")
    leader = topic.partitions[coordinator_partition(transactional_id, len(topic.partitions))].leader
    if leader < 0:
        raise KafkaError(ErrorCode.coordinator_not_available, "the transaction coordinator has no leader")
    by_topic: dict[str, list[int]] = {}
    for name, index in partitions:
        by_topic.setdefault(name, []).append(index)
    request = messages.request(
        ADD_PARTITIONS_TO_TXN,
        _VERSION,
        transactions=[
            {
                "transactional_id": transactional_id,
                "producer_id": producer_id,
                "producer_epoch": producer_epoch,
                "verify_only": not add,
                "topics": [{"name": name, "partitions": indexes} for name, indexes in by_topic.items()],
            }
        ],
    )
    try:
        response = await broker.channel(leader, "verification").call(request, timeout_ms=_TIMEOUT_MS)
    except (OSError, TimeoutError) as error:
        raise KafkaError(ErrorCode.network_exception, str(error)) from error
    for result in response.results_by_transaction:
        for topic_result in result.topic_results:
            for partition in topic_result.results_by_partition:
                if partition.partition_error_code is not ErrorCode.none:
                    raise KafkaError(partition.partition_error_code, "verification")
