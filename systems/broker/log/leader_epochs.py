"""Which leader epoch wrote which part of a log (KIP-101, KIP-279; semantics 2.1 rule 4)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple


class EpochEnd(NamedTuple):
    """An epoch and the exclusive end of what it wrote. (-1, -1) where nothing is known."""

    epoch: int
    end_offset: int


UNKNOWN_EPOCH = EpochEnd(-1, -1)


class LeaderEpochs:
    """epoch -> first offset, both strictly increasing except for epochs that wrote nothing."""

    def __init__(self) -> None:
        self._epochs: list[int] = []
        self._starts: list[int] = []

    @property
    def latest(self) -> int:
        """The newest epoch; -1 while the log is empty."""
        return self._epochs[-1] if self._epochs else -1

    def entries(self) -> list[tuple[int, int]]:
        return list(zip(self._epochs, self._starts, strict=True))

    def assign(self, epoch: int, start_offset: int) -> None:
        """`epoch` begins at `start_offset`. Known or older epochs change nothing."""
        if epoch <= self.latest:
            return
        # An epoch that wrote nothing leaves no trace: the newer one begins where it did.
        while self._starts and self._starts[-1] >= start_offset:
            self._epochs.pop()
            self._starts.pop()
        self._epochs.append(epoch)
        self._starts.append(start_offset)

    def end_of(self, epoch: int, log_end_offset: int) -> EpochEnd:
        """The largest epoch up to the asked one, and its exclusive end (KIP-279)."""
        place = bisect_right(self._epochs, epoch)
        if place == 0:
            if not self._epochs:
                return UNKNOWN_EPOCH
            return EpochEnd(epoch, self._starts[0])
        end = self._starts[place] if place < len(self._starts) else log_end_offset
        return EpochEnd(self._epochs[place - 1], end)

    def end_of_as_in_kip101(self, epoch: int, log_end_offset: int) -> EpochEnd:
        """What leaders answered before KIP-279 (KAFKA-6361): the start of the next larger epoch under the
        *asked* epoch's name, although this log may never have seen that epoch."""
        place = bisect_right(self._epochs, epoch)
        if not self._epochs:
            return UNKNOWN_EPOCH
        return EpochEnd(epoch, self._starts[place] if place < len(self._starts) else log_end_offset)

    def epoch_at(self, offset: int) -> int:
        """The epoch that wrote `offset`; -1 if none did."""
        place = bisect_right(self._starts, offset)
        return self._epochs[place - 1] if place else -1

    def truncate(self, end_offset: int) -> None:
        """Forgets epochs that begin at or after the new end."""
        keep = bisect_left(self._starts, end_offset)
        del self._epochs[keep:]
        del self._starts[keep:]

    def begin_at(self, start_offset: int) -> None:
        """Forgets epochs whose records all lie below the log's new beginning."""
        gone = bisect_right(self._starts, start_offset) - 1
        if gone >= 0:
            del self._epochs[:gone]
            del self._starts[:gone]
            self._starts[0] = start_offset


def truncation_offset(own: LeaderEpochs, own_end: int, leader: EpochEnd) -> int:
    """Where a follower cuts its log when the leader says that it diverges after `leader` (rule 4).

    The smaller of the leader's end of that epoch and our own end of it; where we do not know that epoch,
    the end of our largest smaller one, and the next fetch asks again.
    """
    if leader.end_offset < 0:
        return own_end
    mine = own.end_of(leader.epoch, own_end)
    if mine.end_offset < 0:
        return min(leader.end_offset, own_end)
    if mine.epoch != leader.epoch:
        return min(mine.end_offset, own_end)
    return min(mine.end_offset, leader.end_offset, own_end)
