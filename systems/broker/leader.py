"""A partition's leader in one leader epoch (semantics 2.1 rules 2 and 4 to 8).

One object per epoch: a change of epoch makes a new one, so nothing of an old epoch can be acted on. Its state
is in `leader_state.py`; what it does is in `producing.py`, `fetching.py` and `in_sync.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.coordinator_log import OFFSETS
from systems.broker.fetching import Fetching
from systems.broker.metadata import PartitionState
from systems.broker.producing import Producing

if TYPE_CHECKING:
    from systems.broker.partition import Partition


class Leader(Producing, Fetching):
    """Rule 2, become leader: the epoch starts at our end of log; the high watermark is kept, perhaps
    stale-low; nothing is known of any follower; no ISR change is pending. Producer state and open
    transactions are the log's own, so they are ready before the first write."""

    def __init__(self, partition: Partition, state: PartitionState) -> None:
        super().__init__(partition, state)
        self._env.emit(
            "leader-elected",
            partition=partition.name,
            leader=self._env.name,
            leader_epoch=self.leader_epoch,
            partition_epoch=state.partition_epoch,
            isr=self._names(self.isr.committed),
            replicas=self._names(self.replicas),
            epoch_start=self.epoch_start,
        )
        self._advance_high_watermark()

    def on_partition_state(self, state: PartitionState) -> None:
        """Metadata within this epoch."""
        self.on_isr_confirmed(state.isr, state.partition_epoch)

    def resign(self) -> None:
        """Somebody else leads, or we do again in a newer epoch: what was waiting has an unknown outcome."""
        self.active = False
        over = KafkaError(ErrorCode.not_leader_or_follower, f"{self.name} epoch {self.leader_epoch} is over")
        self._begun.fail(over)
        if "stale-group-coordinator-acks" in self._bugs and self.topic == OFFSETS:
            # Whoever waits for an offset is told when the partition gets there, whatever stands there then.
            self._partition.waiting_for_offsets = self._replicated
        else:
            self._replicated.fail(over)
