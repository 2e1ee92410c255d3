"""What every operation that reads a log has in common: how a record stands in the history, and what an
error of a read means.

A record is `["orders/0", offset, value]`. A read leaves nothing behind, so that its errors are `fail`; but
the reader may have moved on past records that it never handed out, so that its process is retired.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from harness.capabilities import Record, TopicPartition
from harness.workload import Completion, fail

PROGRAMMING_ERRORS = (TypeError, AttributeError, NameError, AssertionError)
"""Never swallowed: the runner makes the run `unknown` for them."""


def partitions_of(topic: str, count: int) -> list[TopicPartition]:
    return [TopicPartition(topic, index) for index in range(count)]


def parse_partition(name: str) -> TopicPartition:
    """`orders/0` -> (`orders`, 0). Raises ValueError."""
    topic, _, index = name.rpartition("/")
    return TopicPartition(topic, int(index))


def shown(record: Record) -> list[Any]:
    return [f"{record.topic}/{record.partition}", record.offset, text(record.value)]


def text(value: bytes) -> str:
    """Payloads are UTF-8; what a broken system makes of them must still fit into the history."""
    return value.decode("utf-8", errors="backslashreplace")


def offsets_shown(offsets: Sequence[tuple[TopicPartition, int]]) -> list[Any]:
    return [[str(partition), offset] for partition, offset in offsets]


async def read_or_fail(reading: Awaitable[Completion]) -> Completion:
    """The completion, or `fail` with the error's name and the end of the process."""
    try:
        return await reading
    except PROGRAMMING_ERRORS:
        raise
    except Exception as error:
        return fail(describe(error), retire=True)


def describe(error: BaseException) -> str:
    detail = str(error)
    return f"{type(error).__name__}: {detail}" if detail else type(error).__name__
