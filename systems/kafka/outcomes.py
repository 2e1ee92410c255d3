"""What an error of a Kafka client says about the operation that met it (semantics 1c, rule 1).

The list of what is certain is short on purpose: a time-out, a lost connection or NOT_LEADER_OR_FOLLOWER
leaves open whether the broker did what it was asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import errors as kafka

from harness.capabilities import DefiniteFailure, Fenced


class ClientBroken(Exception):
    """The library is in a state that it cannot leave. Says nothing of the operation."""


FENCED = (kafka.ProducerFenced, kafka.InvalidProducerEpoch, kafka.InvalidProducerIdMapping)

REFUSED = (
    kafka.IllegalOperation,
    kafka.IllegalStateError,
    kafka.IllegalGenerationError,
    kafka.UnknownMemberIdError,
    kafka.RebalanceInProgressError,
    kafka.CommitFailedError,
    kafka.InvalidTxnState,
    kafka.InvalidRequestError,
    kafka.InvalidTopicError,
    kafka.MessageSizeTooLargeError,
)
"""Refused before any effect: by the library itself, or by a check that the broker makes first."""


@asynccontextmanager
async def outcomes() -> AsyncIterator[None]:
    """Translates the library's errors into the capability's; what is not listed passes unchanged and
    means *unknown*."""
    try:
        yield
    except (DefiniteFailure, Fenced, ClientBroken):
        raise
    except AssertionError as error:
        raise ClientBroken(f"assertion of the client library: {error}") from error
    except Exception as error:
        root = _root(error)
        if isinstance(root, FENCED):
            raise Fenced(describe(root)) from error
        if isinstance(root, REFUSED):
            raise DefiniteFailure(describe(root)) from error
        raise


def not_sent(error: Exception) -> Exception:
    """For an error that the library raised before the record was handed to its sender."""
    root = _root(error)
    if isinstance(root, FENCED):
        return Fenced(describe(root))
    return DefiniteFailure(describe(root))


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _root(error: BaseException) -> BaseException:
    """aiokafka wraps what ended its sender; the cause says more."""
    while type(error) is kafka.KafkaError and error.__cause__ is not None:
        error = error.__cause__
    return error
