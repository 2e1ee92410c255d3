from __future__ import annotations

import pytest
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.log.batch import BatchHeader
from systems.broker.verifying import Verifications
from tests.systems.broker.batches import at, batch


def header(sequence: int, *, epoch: int = 0) -> BatchHeader:
    data = batch(1, producer_id=1, producer_epoch=epoch, sequence=sequence, transactional=True)
    return at(data, 0)[0]


def refused(code: ErrorCode) -> pytest.RaisesExc[KafkaError]:
    return pytest.raises(KafkaError, match=code.name)


def test_only_what_was_asked_about_is_admitted_and_only_once() -> None:
    verifications = Verifications()
    guard = verifications.begin(header(0), raises_epoch=False)
    verifications.admit(header(0), guard, None)
    with refused(ErrorCode.invalid_txn_state):
        verifications.admit(header(0), guard, None)
    with refused(ErrorCode.invalid_txn_state):
        verifications.admit(header(0), None, None)


def test_a_marker_in_between_voids_the_guard() -> None:
    verifications = Verifications()
    guard = verifications.begin(header(0), raises_epoch=False)
    verifications.end(1)
    verifications.begin(header(0), raises_epoch=False)
    with refused(ErrorCode.invalid_txn_state):
        verifications.admit(header(0), guard, None)


def test_a_batch_does_not_overtake_one_that_was_refused_before_it() -> None:
    """Both were sent; the verification of the first one failed for a moment."""
    verifications = Verifications()
    verifications.begin(header(5), raises_epoch=False)
    guard = verifications.begin(header(6), raises_epoch=False)
    with refused(ErrorCode.out_of_order_sequence_number):
        verifications.admit(header(6), guard, None)
    verifications.admit(header(5), guard, None)


def test_a_newer_epoch_begins_anew() -> None:
    verifications = Verifications()
    verifications.begin(header(2), raises_epoch=False)
    guard = verifications.begin(header(7, epoch=1), raises_epoch=False)
    verifications.admit(header(7, epoch=1), guard, None)


def test_a_transaction_of_version_2_begins_with_sequence_0() -> None:
    verifications = Verifications()
    guard = verifications.begin(header(4), raises_epoch=True)
    with refused(ErrorCode.out_of_order_sequence_number):
        verifications.admit(header(4), guard, None)
    verifications.admit(header(0), guard, None)
