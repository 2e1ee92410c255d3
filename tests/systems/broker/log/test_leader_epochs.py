from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from systems.broker.log.leader_epochs import EpochEnd, LeaderEpochs, truncation_offset


def _of(*entries: tuple[int, int]) -> LeaderEpochs:
    epochs = LeaderEpochs()
    for epoch, start in entries:
        epochs.assign(epoch, start)
    return epochs


def test_the_end_of_an_epoch_is_the_start_of_the_next() -> None:
    epochs = _of((1, 0), (3, 12), (5, 20))
    assert epochs.end_of(1, 30) == EpochEnd(1, 12)
    assert epochs.end_of(5, 30) == EpochEnd(5, 30)
    assert epochs.end_of(9, 30) == EpochEnd(5, 30)


def test_of_an_unknown_epoch_the_largest_smaller_one_is_told() -> None:
    """KIP-279; before, the answer was the next start under the asked name (S7)."""
    epochs = _of((1, 0), (3, 12))
    assert epochs.end_of(2, 13) == EpochEnd(1, 12)
    assert epochs.end_of_as_in_kip101(2, 13) == EpochEnd(2, 12)


def test_an_epoch_that_wrote_nothing_leaves_no_trace() -> None:
    assert _of((1, 0), (2, 10), (4, 10)).entries() == [(1, 0), (4, 10)]


def test_schedule_s7_ends_with_equal_logs() -> None:
    """A: e1 x@10,11, then e3 z@12. B: e1 up to 10, e2 y@10. B must cut to 10."""
    leader = _of((1, 0), (3, 12))
    follower = _of((1, 0), (2, 10))
    told = leader.end_of(2, 13)
    assert told == EpochEnd(1, 12)
    assert truncation_offset(follower, 11, told) == 10


Log = list[int]
"""A log as the epoch of each offset."""


def _epochs(log: Log) -> LeaderEpochs:
    epochs = LeaderEpochs()
    for offset, epoch in enumerate(log):
        epochs.assign(epoch, offset)
    return epochs


def _common(a: Log, b: Log) -> int:
    """Epochs never decrease and one epoch writes one content, so equal (offset, epoch) is equal content
    exactly as far as the logs agree from the start."""
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    return length


@given(st.data())
def test_a_follower_ends_as_a_prefix_of_the_leader_and_loses_nothing_shared(data: st.DataObject) -> None:
    """Random histories of leadership: at each step some replica leads a new epoch, writes, and some others
    copy a prefix of its log after having cut theirs where they differ."""
    replicas: list[Log] = [[], [], []]
    for epoch in range(1, data.draw(st.integers(1, 8)) + 1):
        leader = data.draw(st.integers(0, 2))
        log = replicas[leader]
        log.extend([epoch] * data.draw(st.integers(0, 4)))
        for follower in range(3):
            if follower == leader or not data.draw(st.booleans()):
                continue
            mine = replicas[follower]
            shared = _common(mine, log)
            for _ in range(20):
                if not mine:
                    break
                told = _epochs(log).end_of(mine[-1], len(log))
                if told.epoch >= mine[-1] and told.end_offset >= len(mine):
                    break
                if told.end_offset < 0:
                    del mine[:]
                    break
                cut = truncation_offset(_epochs(mine), len(mine), told)
                assert cut < len(mine), "a divergence must cut something"
                del mine[cut:]
            assert mine == log[: len(mine)], "what is left is a prefix of the leader's log"
            assert len(mine) == shared, "and as long as the shared prefix"
            wanted = data.draw(st.integers(0, 5))
            mine.extend(log[len(mine) : len(mine) + wanted])
