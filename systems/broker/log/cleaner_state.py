"""How far a log is clean, on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from harness.node import Disk
from systems.broker.log.checksummed import read_checksummed, write_checksummed
from systems.broker.log.leader_epochs import LeaderEpochs


class CleanerState(msgspec.Struct, frozen=True, array_like=True):
    """`clean_until`: no key has two records below; `last_crc` is that of the batch which ends there. `epochs` are those of the cleaned range (epoch, first offset),
    because batches that told them may be gone. `horizon_ms`: when a tombstone or marker will next be due; -1 for
    none."""

    clean_until: int = 0
    epochs: tuple[tuple[int, int], ...] = ()
    horizon_ms: int = -1
    last_crc: int = 0

    def cut(self, end_offset: int) -> CleanerState:
        """After the log was truncated."""
        kept = tuple((epoch, start) for epoch, start in self.epochs if start < end_offset)
        clean_until = self.clean_until if self.clean_until <= end_offset else 0
        return CleanerState(clean_until, kept, self.horizon_ms, self.last_crc)

    def of(self, batches: Sequence[tuple[int, int]], crc_at: Mapping[int, int]) -> CleanerState:
        """What of it is true of a log with those batches (epoch, first offset), and CRCs by their ends: one that
        lost its tail and was filled anew is not the one that was cleaned."""
        clean_until = self.clean_until if crc_at.get(self.clean_until) == self.last_crc else 0
        epochs = self.leader_epochs()
        end = self.epochs[-1][1] if self.epochs else 0
        same = all(epochs.epoch_at(start) == epoch for epoch, start in batches if start < end)
        return CleanerState(clean_until, self.epochs if same else (), self.horizon_ms, self.last_crc)

    def leader_epochs(self) -> LeaderEpochs:
        epochs = LeaderEpochs()
        for epoch, start in self.epochs:
            epochs.assign(epoch, start)
        return epochs


class CleanerFile:
    def __init__(self, disk: Disk, folder: str) -> None:
        self.name = f"{folder}/cleaner-state"
        self._disk = disk

    def read(self) -> CleanerState:
        return read_checksummed(self._disk, self.name, CleanerState) or CleanerState()

    def write(self, state: CleanerState) -> None:
        write_checksummed(self._disk, self.name, state)

    async def sync(self) -> None:
        await self._disk.fsync(self.name)
