from __future__ import annotations

import pytest
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.log.batch import Marker, control_batch
from systems.broker.producer_state import Duplicate, ProducerStates
from tests.systems.broker.batches import at, batch


class Partition:
    """A producer-state machine with the log offsets kept for it."""

    def __init__(self) -> None:
        self.states = ProducerStates()
        self.end = 0

    def send(
        self, sequence: int, count: int = 1, *, pid: int = 1, epoch: int = 0, transactional: bool = False
    ) -> Duplicate | None:
        data = batch(
            count, producer_id=pid, producer_epoch=epoch, sequence=sequence, transactional=transactional
        )
        header, _ = at(data, self.end)
        duplicate = self.states.check(header)
        if duplicate is None:
            self.states.on_batch(header)
            self.end += count
        return duplicate

    def mark(
        self, *, pid: int = 1, epoch: int = 0, commit: bool = True, coordinator: int = 0, version: int = 1
    ) -> bool:
        if not self.states.check_marker(pid, epoch, coordinator, version):
            return False
        data = control_batch(
            producer_id=pid,
            producer_epoch=epoch,
            coordinator_epoch=coordinator,
            commit=commit,
            timestamp_ms=0,
        )
        header, _ = at(data, self.end)
        self.states.on_marker(header, Marker(commit, coordinator))
        self.end += 1
        return True


def _refused(code: ErrorCode) -> pytest.RaisesExc[KafkaError]:
    return pytest.raises(KafkaError, match=code.name)


def test_a_retry_gets_the_first_ones_offsets() -> None:
    partition = Partition()
    for sequence in range(7):
        partition.send(sequence)
    assert partition.send(4) == Duplicate(4, 4)
    assert partition.end == 7


def test_only_the_last_five_batches_are_recognised() -> None:
    partition = Partition()
    for sequence in range(6):
        partition.send(sequence)
    assert partition.send(1) == Duplicate(1, 1)
    with _refused(ErrorCode.out_of_order_sequence_number):
        partition.send(0)


def test_a_gap_is_refused() -> None:
    partition = Partition()
    partition.send(0, 3)
    with _refused(ErrorCode.out_of_order_sequence_number):
        partition.send(4)
    assert partition.send(3) is None


def test_an_unknown_producer_begins_anywhere() -> None:
    """As in Kafka: its records before may be gone by retention."""
    partition = Partition()
    assert partition.send(3) is None
    assert partition.send(3) == Duplicate(0, 0)
    with _refused(ErrorCode.out_of_order_sequence_number):
        partition.send(0)


def test_nothing_slips_between_the_records_of_a_transaction() -> None:
    partition = Partition()
    partition.send(0, transactional=True)
    with _refused(ErrorCode.invalid_txn_state):
        partition.send(1)
    assert partition.send(1, transactional=True) is None


def test_epochs_fence_and_restart_the_sequence() -> None:
    partition = Partition()
    partition.send(0)
    with _refused(ErrorCode.out_of_order_sequence_number):
        partition.send(1, epoch=1)
    partition.send(0, epoch=1)
    with _refused(ErrorCode.invalid_producer_epoch):
        partition.send(1, epoch=0)


def test_the_stable_offset_waits_for_the_marker_below_the_high_watermark() -> None:
    """2.4.3."""
    partition = Partition()
    partition.send(0)
    partition.send(1, transactional=True)
    partition.send(0, pid=2)
    assert partition.states.last_stable_offset(3) == 1
    partition.mark()
    assert partition.states.last_stable_offset(3) == 1, "the marker at 3 is not replicated"
    assert partition.states.last_stable_offset(4) == 4


def test_aborted_ranges_are_named_where_they_overlap() -> None:
    partition = Partition()
    partition.send(0, transactional=True)  # 0
    partition.send(0, pid=2, transactional=True)  # 1
    partition.mark(pid=1, commit=False)  # 2
    partition.mark(pid=2, commit=False)  # 3
    partition.send(1, transactional=True)  # 4
    partition.mark(pid=1, commit=True)  # 5

    def named(start: int, end: int) -> list[tuple[int, int]]:
        return [(a.producer_id, a.first_offset) for a in partition.states.aborted_in(start, end)]

    assert named(0, 6) == [(1, 0), (2, 1)]
    assert named(3, 6) == [(2, 1)]
    assert named(4, 6) == []
    assert named(0, 1) == [(1, 0)]


def test_a_marker_of_an_older_coordinator_is_refused() -> None:
    partition = Partition()
    partition.send(0, transactional=True)
    partition.mark(coordinator=5)
    partition.send(1, transactional=True)
    with _refused(ErrorCode.transaction_coordinator_fenced):
        partition.mark(coordinator=4)


def test_transaction_version_2_a_late_marker_does_not_end_the_next_transaction() -> None:
    """The marker carries e+1, in which the next transaction runs (KIP-890)."""
    partition = Partition()
    partition.send(0, epoch=3, transactional=True)
    assert partition.mark(epoch=4, version=2)
    assert not partition.mark(epoch=4, version=2), "the same marker once more"
    partition.send(0, epoch=4, transactional=True)
    opened = partition.states.open_since(1)
    with _refused(ErrorCode.invalid_producer_epoch):
        partition.mark(epoch=4, version=2)
    assert partition.states.open_since(1) == opened
    assert partition.mark(epoch=5, version=2)
    with _refused(ErrorCode.invalid_producer_epoch):
        partition.send(1, epoch=4, transactional=True)


def test_transaction_version_1_markers_carry_the_transactions_own_epoch() -> None:
    partition = Partition()
    for sequence in range(3):
        partition.send(sequence, transactional=True)
        assert partition.mark()
        assert partition.states.open_since(1) is None


def test_transaction_version_1_a_late_marker_ends_the_next_transaction() -> None:
    """S11, at the partition: the same epoch, so nothing tells it from the marker that is due."""
    partition = Partition()
    partition.send(0, transactional=True)
    assert partition.mark()
    assert partition.mark(), "harmless while nothing is open"
    partition.send(1, transactional=True)
    assert partition.mark(commit=False)
    assert [a.first_offset for a in partition.states.aborted_in(0, 10)] == [3]


def test_transaction_version_1_a_marker_without_records_is_not_taken_for_the_next_ones() -> None:
    partition = Partition()
    assert partition.mark(commit=False)
    partition.send(0, transactional=True)
    assert partition.mark()
    assert partition.states.open_since(1) is None


def test_a_marker_of_the_version_before_leaves_room_for_one_of_version_2() -> None:
    """A client was updated between two transactions: its InitProducerId raised the epoch."""
    partition = Partition()
    partition.send(0, epoch=3, transactional=True)
    assert partition.mark(epoch=3, version=1)
    partition.send(0, epoch=4, transactional=True)
    assert partition.mark(epoch=5, version=2)
    assert not partition.mark(epoch=5, version=2)


def test_a_marker_fences_even_where_nothing_was_written() -> None:
    partition = Partition()
    assert partition.mark(epoch=2, commit=False)
    with _refused(ErrorCode.invalid_producer_epoch):
        partition.send(0, epoch=1, transactional=True)
    assert partition.states.aborted_in(0, 10) == []


def test_snapshots_carry_everything() -> None:
    partition = Partition()
    partition.send(0, transactional=True)
    partition.mark(commit=False)
    partition.send(1, transactional=True)
    snapshot = partition.states.snapshot(partition.end)
    other = ProducerStates()
    other.restore(snapshot)
    assert other.snapshot(partition.end) == snapshot
    assert other.last_stable_offset(1) == partition.states.last_stable_offset(1) == 0
    assert other.last_stable_offset(3) == partition.states.last_stable_offset(3) == 2
    assert other.open_since(1) == 2
