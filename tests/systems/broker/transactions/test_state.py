"""The transactional id's state machine: each rule of semantics 2.4, and its invariants under any requests."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.transactions import codec, state
from systems.broker.transactions.state import MAX_EPOCH, PREPARED, TRANSITIONS, State, Transaction

PARTITION = ("orders", 0)


def fresh(**changes: object) -> Transaction:
    return msgspec.structs.replace(
        Transaction(transactional_id="t", producer_id=7, producer_epoch=3, timeout_ms=1000), **changes
    )


def ongoing(**changes: object) -> Transaction:
    return fresh(state=State.ONGOING, partitions=(PARTITION,), started_ms=5, **changes)


def end(txn: Transaction, epoch: int, *, commit: bool, bump: bool = True, pid: int = 7) -> Transaction | None:
    return state.end(txn, pid, epoch, commit=commit, bump_epoch=bump, now_ms=9)


def refused(code: ErrorCode) -> pytest.RaisesExc[KafkaError]:
    return pytest.raises(KafkaError, check=lambda error: error.code is code)


def completed(txn: Transaction | None) -> Transaction:
    assert txn is not None
    return state.complete(txn, now_ms=10)


def test_init_bumps_the_epoch() -> None:
    first = state.init_producer(
        Transaction(transactional_id="t", producer_id=7, timeout_ms=1), timeout_ms=50, now_ms=1
    )
    again = state.init_producer(first, timeout_ms=60, now_ms=2)
    assert [(t.producer_epoch, t.timeout_ms, t.state) for t in (first, again)] == [
        (0, 50, State.EMPTY),
        (1, 60, State.EMPTY),
    ]


def test_init_waits_for_a_decision_to_be_carried_out() -> None:
    with refused(ErrorCode.concurrent_transactions):
        state.init_producer(fresh(state=State.PREPARE_COMMIT), timeout_ms=1, now_ms=1)


def test_init_takes_a_new_producer_id_when_epochs_run_out() -> None:
    after = state.init_producer(
        fresh(producer_epoch=MAX_EPOCH - 1), timeout_ms=1, fresh_producer_id=8, now_ms=1
    )
    assert (after.producer_id, after.producer_epoch, after.previous_producer_id) == (8, 0, 7)


def test_who_continues_must_be_the_newest_producer() -> None:
    current = fresh(last_producer_epoch=2)
    assert state.init_producer(current, timeout_ms=1, expected=(7, 3), now_ms=1).producer_epoch == 4
    retried = state.init_producer(current, timeout_ms=1, expected=(7, 2), now_ms=1)
    assert retried.producer_epoch == 3
    with refused(ErrorCode.producer_fenced):
        state.init_producer(current, timeout_ms=1, expected=(7, 1), now_ms=1)
    with refused(ErrorCode.producer_fenced):
        state.init_producer(current, timeout_ms=1, expected=(6, 3), now_ms=1)


def test_partitions_are_added_once_and_by_the_current_producer_only() -> None:
    added = state.add_partitions(fresh(), 7, 3, [("b", 1), ("a", 0)], now_ms=5)
    assert added is not None
    assert (added.state, added.partitions, added.started_ms) == (State.ONGOING, (("a", 0), ("b", 1)), 5)
    assert state.add_partitions(added, 7, 3, [("a", 0)], now_ms=6) is None
    more = state.add_partitions(added, 7, 3, [("c", 2)], now_ms=7)
    assert more is not None and (len(more.partitions), more.started_ms) == (3, 5)
    with refused(ErrorCode.producer_fenced):
        state.add_partitions(added, 7, 2, [("c", 2)], now_ms=7)
    with refused(ErrorCode.invalid_producer_id_mapping):
        state.add_partitions(added, 6, 3, [("c", 2)], now_ms=7)


def test_the_next_transaction_does_not_inherit_partitions() -> None:
    done = completed(end(ongoing(), 3, commit=True))
    following = state.add_partitions(done, 7, 4, [("other", 1)], now_ms=20)
    assert following is not None and following.partitions == (("other", 1),)
    with refused(ErrorCode.concurrent_transactions):
        state.add_partitions(fresh(state=State.PREPARE_ABORT), 7, 3, [PARTITION], now_ms=1)


def test_verification_knows_ongoing_partitions_only() -> None:
    state.verify_partition(ongoing(), 7, 3, PARTITION)
    for txn, partition in ((ongoing(), ("orders", 1)), (fresh(), PARTITION)):
        with refused(ErrorCode.transaction_abortable):
            state.verify_partition(txn, 7, 3, partition)
    with refused(ErrorCode.concurrent_transactions):
        state.verify_partition(fresh(state=State.PREPARE_COMMIT), 7, 3, PARTITION)


@pytest.mark.parametrize("commit", [True, False])
def test_version_2_markers_and_answer_carry_the_next_epoch(commit: bool) -> None:
    decided = end(ongoing(), 3, commit=commit)
    assert decided is not None
    assert (decided.producer_epoch, decided.last_producer_epoch, decided.partitions) == (4, 3, (PARTITION,))
    assert state.returned(decided) == (7, 4)
    done = completed(decided)
    assert done.state is (State.COMPLETE_COMMIT if commit else State.COMPLETE_ABORT)
    assert (done.producer_epoch, done.partitions) == (4, ())


@pytest.mark.parametrize("commit", [True, False])
def test_version_2_recognises_a_retry_by_its_epoch(commit: bool) -> None:
    decided = end(ongoing(), 3, commit=commit)
    assert decided is not None
    with refused(ErrorCode.concurrent_transactions):
        end(decided, 3, commit=commit)
    done = completed(decided)
    assert end(done, 3, commit=commit) is None
    with refused(ErrorCode.invalid_txn_state):
        end(done, 3, commit=not commit)
    with refused(ErrorCode.producer_fenced):
        end(done, 2, commit=commit)


def test_version_2_fences_what_the_ended_transaction_left_in_the_network() -> None:
    """S11: a delayed EndTxn meets the next transaction."""
    following = state.add_partitions(completed(end(ongoing(), 3, commit=True)), 7, 4, [PARTITION], now_ms=1)
    assert following is not None
    for commit in (True, False):
        with refused(ErrorCode.producer_fenced):
            end(following, 3, commit=commit)


def test_version_1_cannot_tell_a_delayed_request_from_the_next_one() -> None:
    """S11 under transaction.version=1: the known anomaly, kept as it is."""
    done = completed(end(ongoing(), 3, commit=True, bump=False))
    assert done.producer_epoch == 3 and end(done, 3, commit=True, bump=False) is None
    following = state.add_partitions(done, 7, 3, [PARTITION], now_ms=1)
    assert following is not None
    hit = end(following, 3, commit=True, bump=False)
    assert hit is not None and hit.state is State.PREPARE_COMMIT


def test_version_2_aborts_a_transaction_that_never_got_a_partition() -> None:
    decided = end(fresh(), 3, commit=False)
    assert decided is not None and (decided.state, decided.producer_epoch) == (State.PREPARE_ABORT, 4)
    with refused(ErrorCode.invalid_txn_state):
        end(fresh(), 3, commit=True)
    with refused(ErrorCode.invalid_txn_state):
        end(fresh(), 3, commit=False, bump=False)


def test_version_2_rotates_the_producer_id_at_the_last_epoch() -> None:
    decided = state.end(
        ongoing(producer_epoch=MAX_EPOCH - 1),
        7,
        MAX_EPOCH - 1,
        commit=True,
        bump_epoch=True,
        next_producer_id=8,
        now_ms=9,
    )
    assert decided is not None
    assert (decided.producer_id, decided.producer_epoch) == (7, MAX_EPOCH)
    assert state.returned(decided) == (8, 0)
    done = completed(decided)
    assert (done.producer_id, done.producer_epoch) == (8, 0)
    assert end(done, MAX_EPOCH - 1, commit=True) is None


def test_a_successors_fence_is_for_good() -> None:
    fenced = state.fence(ongoing(), resumable=False, now_ms=9)
    assert (fenced.state, fenced.producer_epoch) == (State.PREPARE_ABORT, 4)
    for commit in (True, False):
        with refused(ErrorCode.concurrent_transactions):
            end(fenced, 3, commit=commit)
        with refused(ErrorCode.producer_fenced):
            end(completed(fenced), 3, commit=commit)


def test_after_a_time_out_the_producer_may_abort_and_go_on() -> None:
    timed_out = completed(state.fence(ongoing(), resumable=True, now_ms=9))
    with refused(ErrorCode.invalid_txn_state):
        end(timed_out, 3, commit=True)
    assert end(timed_out, 3, commit=False) is None
    assert state.returned(timed_out) == (7, 4)
    again = state.init_producer(timed_out, timeout_ms=1, expected=(7, 3), now_ms=1)
    assert again.producer_epoch == 4
    with refused(ErrorCode.producer_fenced):
        end(timed_out, 3, commit=False, bump=False)


def test_a_stored_transaction_reads_back() -> None:
    txn = ongoing()
    key, value = codec.encode(txn)
    assert key == b"t" and codec.decode(value) == txn


REQUEST = st.one_of(
    st.tuples(st.just("init"), st.booleans()),
    st.tuples(st.just("add"), st.integers(0, 6)),
    st.tuples(st.just("end"), st.integers(0, 6), st.booleans()),
    st.tuples(st.just("complete")),
    st.tuples(st.just("fence")),
)


@given(st.lists(REQUEST, max_size=40), st.booleans())
def test_any_requests_keep_the_invariants(requests: list[tuple], bump: bool) -> None:
    """Only transitions of the table; the epoch never goes back; an ended epoch can end nothing again; a
    decision is never taken back."""
    txn = Transaction(transactional_id="t", producer_id=7, timeout_ms=1)
    for kind, *arguments in requests:
        before = txn
        try:
            match kind, arguments:
                case "init", [expects]:
                    if txn.state is State.ONGOING:
                        continue
                    expected = (7, txn.producer_epoch) if expects else None
                    txn = state.init_producer(txn, timeout_ms=1, expected=expected, now_ms=0)
                case "add", [epoch]:
                    txn = state.add_partitions(txn, 7, epoch, [PARTITION], now_ms=0) or txn
                case "end", [epoch, commit]:
                    txn = end(txn, epoch, commit=commit, bump=bump) or txn
                    if bump and txn is not before:
                        assert txn.producer_epoch == epoch + 1
                case "complete", []:
                    if txn.state in PREPARED:
                        txn = state.complete(txn, now_ms=0)
                        assert txn.commits == before.commits
                case "fence", []:
                    if txn.state is State.ONGOING:
                        txn = state.fence(txn, resumable=False, now_ms=0)
        except KafkaError:
            assert txn is before
            continue
        assert txn.producer_epoch >= before.producer_epoch
        if txn.state is not before.state:
            path = TRANSITIONS[before.state] | {
                t
                for via in TRANSITIONS[before.state]
                if via is State.PREPARE_EPOCH_FENCE
                for t in TRANSITIONS[via]
            }
            assert txn.state in path
