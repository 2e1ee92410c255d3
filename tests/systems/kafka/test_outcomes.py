"""What an error says about the operation (semantics 1c, rule 1): certain only where it is listed."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import errors as kafka

from harness.capabilities import DefiniteFailure, Fenced
from systems.kafka.outcomes import ClientBroken, not_sent, outcomes


def translated(error: Exception) -> BaseException:
    async def meets() -> None:
        async with outcomes():
            raise error

    with pytest.raises(Exception) as caught:
        asyncio.run(meets())
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        kafka.RequestTimedOutError(),
        kafka.KafkaConnectionError(),
        kafka.NotLeaderForPartitionError(),
        kafka.NotEnoughReplicasAfterAppendError(),
        kafka.NotEnoughReplicasError(),
        kafka.UnknownError(),
        kafka.OutOfOrderSequenceNumber(),
        TimeoutError(),
        ConnectionAbortedError(),
    ],
)
def test_what_is_not_listed_is_unknown(error: Exception) -> None:
    """NOT_ENOUGH_REPLICAS too: an earlier attempt of the same batch may have been appended."""
    assert translated(error) is error


@pytest.mark.parametrize(
    "error", [kafka.ProducerFenced(), kafka.InvalidProducerEpoch(), kafka.InvalidProducerIdMapping()]
)
def test_a_fenced_producer_is_fenced(error: Exception) -> None:
    assert isinstance(translated(error), Fenced)


@pytest.mark.parametrize(
    "error",
    [
        kafka.InvalidTxnState(),
        kafka.CommitFailedError(),
        kafka.IllegalGenerationError(),
        kafka.IllegalOperation(),
    ],
)
def test_a_refusal_before_any_effect_is_definite(error: Exception) -> None:
    assert isinstance(translated(error), DefiniteFailure)


def test_what_ended_the_librarys_sender_counts_and_not_its_wrapping() -> None:
    wrapped = kafka.KafkaError("Unexpected error during batch delivery")
    wrapped.__cause__ = kafka.InvalidTxnState()
    assert isinstance(translated(wrapped), DefiniteFailure)
    assert isinstance(not_sent(wrapped), DefiniteFailure)


def test_an_assertion_of_the_library_is_not_ours() -> None:
    assert isinstance(translated(AssertionError("Invalid state transition")), ClientBroken)


def test_what_was_never_handed_to_the_sender_is_definite() -> None:
    assert isinstance(not_sent(kafka.KafkaTimeoutError()), DefiniteFailure)
    assert isinstance(not_sent(kafka.ProducerFenced()), Fenced)
