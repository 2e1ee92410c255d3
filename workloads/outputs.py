"""What a pipeline writes: an output tells which input it comes from and which transaction wrote it.

    1@33=0:17 by 12.4 2/3

Input partition 1, offset 33, value `0:17`; written by transaction `12.4` (process 12, its fifth operation)
as the second of its three outputs. So the outputs alone prove a loss, a repetition or a torn
transaction, also for pipelines that died before they could say what they did.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.capabilities import Record, TopicPartition
from workloads.reading import text


def outputs_of(
    records: Sequence[Record], txn: str, topic: str, partitions: int
) -> list[tuple[TopicPartition, str]]:
    """One output for each input, spread over the partitions so that transactions span several."""
    return [
        (
            TopicPartition(topic, (record.partition + record.offset) % partitions),
            f"{record.partition}@{record.offset}={text(record.value)} by {txn} {number}/{len(records)}",
        )
        for number, record in enumerate(records, start=1)
    ]
