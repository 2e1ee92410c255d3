"""A leader's high watermark and in-sync replicas (semantics 2.1 rules 5, 7 and 8).

What the rules compute stands in `isr.py`; here is when, and what follows from it.
"""

from __future__ import annotations

from systems.broker import isr as isr_rules
from systems.broker.isr import FollowerProgress, Isr
from systems.broker.leader_state import LeaderState


class InSync(LeaderState):
    """Rules 5, 7 and 8: who is in sync, and how far all of them have come."""

    # ── rule 5: high watermark ───────────────────────────────────────────────────────────────────────

    def _advance_high_watermark(self) -> None:
        """HW := min end of log over ISR ∪ pending ISR, all seen in this epoch, only if |ISR| ≥ min.isr
        (KIP-966), never decreasing."""
        if len(self.isr.committed) < self.min_isr and "hw-advances-below-min-isr" not in self._bugs:
            return
        members = self.isr.maximal
        if "hw-from-committed-isr-only" in self._bugs:
            members = self.isr.committed
        offset = isr_rules.high_watermark(members, self._env.id, self._log.durable_end_offset, self.followers)
        if offset > self._partition.high_watermark:
            self._partition.high_watermark = offset
            self._replicated.reached(offset)
            self._partition.appended.stir()
            self._partition.visible.notify()

    # ── rules 7 and 8: ISR ───────────────────────────────────────────────────────────────────────────

    def maybe_shrink_isr(self, lag_time: float) -> None:
        """Rule 7: proposes to drop members that lag in time; they count until the controller confirms."""
        if self.isr.pending is not None:
            return
        late = isr_rules.lagging(
            self.isr.committed, self._env.id, self._log.end_offset, self.followers, self._now(), lag_time
        )
        if late:
            self._propose(tuple(m for m in self.isr.committed if m not in late))

    def _maybe_expand_isr(self, follower: int, progress: FollowerProgress) -> None:
        if self.isr.pending is not None or follower in self.isr.committed:
            return
        epoch_start = 0 if "isr-expand-below-leader-epoch-start" in self._bugs else self.epoch_start
        registered = self._partition.surroundings.registration(follower)
        epoch = registered.epoch if registered is not None and not registered.fenced else None
        if isr_rules.may_join(progress, self._partition.high_watermark, epoch_start, epoch):
            self._propose((*self.isr.committed, follower))

    def _propose(self, members: tuple[int, ...]) -> None:
        self.isr = self.isr.proposing(members)
        self._partition.surroundings.propose_isr(self)

    def broker_epochs(self, members: tuple[int, ...], own_epoch: int) -> list[tuple[int, int]]:
        """The incarnations that a proposal speaks of (KIP-903)."""
        return [(m, own_epoch if m == self._env.id else self.followers[m].broker_epoch) for m in members]

    def on_isr_withdrawn(self, proposal: Isr) -> None:
        """The controller certainly refused that proposal."""
        if self.active and self.isr == proposal:
            self.isr = self.isr.withdrawn()

    def on_isr_confirmed(self, members: tuple[int, ...], partition_epoch: int) -> None:
        """Rule 8: applied only if the partition epoch is higher than the known one."""
        if not self.active or partition_epoch <= self.isr.partition_epoch:
            return
        before = self.isr.committed
        self.isr = self.isr.confirmed(members, partition_epoch)
        now = self.isr.committed
        if now != before:
            shrunk = not set(before) <= set(now)
            self._env.emit(
                "isr-shrunk" if shrunk else "isr-expanded",
                partition=self.name,
                leader_epoch=self.leader_epoch,
                partition_epoch=partition_epoch,
                isr=self._names(now),
                was=self._names(before),
                min_isr=self.min_isr,
            )
        self._advance_high_watermark()
        self._partition.appended.stir()
        self._partition.visible.notify()
