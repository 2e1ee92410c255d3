"""What nodes said of the replicas of one partition: who led it from which offset on, who truncated it.

From it follows, as far as it was said, how a record that had been acknowledged came to be gone: a leader of a
later epoch began below its offset. Nothing is concluded from silence but where a docstring says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from checkers.outages import SILENCES, STALLS, STOPS, Outage
from harness.node import NodeEvent

SETTLED_NS = 1_000_000_000
"""Within which a follower that nothing disturbs has fetched, and truncated what it had to."""


class Leadership(msgspec.Struct, frozen=True):
    time: int
    node: str
    epoch: int
    start: int
    """The end offset of its log when it began to lead."""
    unclean: bool = False


class Truncation(msgspec.Struct, frozen=True):
    time: int
    node: str
    end: int
    was: int
    epoch: int
    """Of the leader whose log it was made to match."""


class Loss(msgspec.Struct, frozen=True):
    """How a record at an offset was lost. `holder`, the leader of `epoch` that had it; `takeover`, the first
    leader of a later epoch whose log was another one from `parted` on; `truncations` under that leader that
    removed the offset; `only`: nobody but the holder had it."""

    offset: int
    holder: str
    epoch: int
    takeover: Leadership
    parted: int
    truncations: tuple[Truncation, ...]
    only: bool

    @property
    def over(self) -> int:
        """When it was gone from every log of which that was said."""
        return max([self.takeover.time, *(t.time for t in self.truncations)])


@dataclass(slots=True)
class Replicas:
    partition: str
    nodes: list[str] = field(default_factory=list)
    events: list[NodeEvent] = field(default_factory=list)
    leaderships: list[Leadership] = field(default_factory=list)
    """In order of epoch."""
    truncations: list[Truncation] = field(default_factory=list)
    followed: list[tuple[int, str, int]] = field(default_factory=list)
    """(time, node, epoch)."""
    ended: list[tuple[int, str]] = field(default_factory=list)
    """(time, node): its process ended, or was stopped."""
    faults: Sequence[Outage] = ()
    trusted: bool = True
    """False with a mutant switched on: then only what was said counts, never what was not."""

    def leaders_at(self, start: int, end: int | None = None) -> list[Leadership]:
        """Who believed to lead at `end` and can have acted since `start`: a deposed leader that has not heard of
        its successor is one of them, one that was paused or down all the while is not."""
        end = start if end is None else end
        acting: dict[str, Leadership] = {}
        for leadership in self.leaderships:
            if leadership.time <= end:
                acting[leadership.node] = leadership
        for when, node in [(t, n) for t, n, _ in self.followed] + self.ended:
            if node in acting and acting[node].time < when <= start:
                del acting[node]
        return sorted(
            (led for led in acting.values() if not self._stalled(led.node, start, end)),
            key=lambda led: led.epoch,
        )

    def _stalled(self, node: str, start: int, end: int) -> bool:
        return any(
            o.kind in STALLS and node in o.targets and o.covers(start) and o.covers(end) for o in self.faults
        )

    def leader_at(self, start: int, end: int | None = None) -> Leadership | None:
        """The only one; None where nobody or more than one believed to lead."""
        acting = self.leaders_at(start, end)
        return acting[0] if len(acting) == 1 else None

    def loss(self, offset: int, sent: int, known: int) -> Loss | None:
        """How the record that stood at this offset at time `known` (sent at `sent`) was lost; None where
        the events do not show it, or fit two stories."""
        stories = [
            loss
            for holder in self.leaders_at(sent, known)
            if (loss := self._lost_by(holder, offset, sent, known)) is not None
        ]
        return stories[0] if len(stories) == 1 else None

    def _lost_by(self, holder: Leadership, offset: int, sent: int, known: int) -> Loss | None:
        for takeover in self.leaderships:
            if takeover.epoch <= holder.epoch:
                continue
            cut = [
                t
                for t in self.truncations
                if t.epoch == takeover.epoch and t.end <= offset < t.was and t.time >= sent
            ]
            own = [t for t in cut if t.node == holder.node]
            if takeover.start > offset and not own:
                continue
            if not own and self._would_have_truncated(holder.node, takeover):
                return None
            parted = min([takeover.start, *(t.end for t in own)])
            return Loss(
                offset=offset,
                holder=holder.node,
                epoch=holder.epoch,
                takeover=takeover,
                parted=parted,
                truncations=tuple(cut),
                only=self._alone(holder.node, takeover, offset, sent),
            )
        return None

    def _would_have_truncated(self, node: str, takeover: Leadership) -> bool:
        """It followed that leader undisturbed, so that whatever it had beyond the leader's log it would have
        truncated, and said so."""
        if node == takeover.node or not self.trusted:
            return False
        heard = next((t for t, n, e in self.followed if n == node and e == takeover.epoch), None)
        if heard is None:
            return False
        ended = any(n == node and heard <= t <= heard + SETTLED_NS for t, n in self.ended)
        return not ended and not any(
            o.kind in SILENCES and (o.hits(node) or o.hits(takeover.node))
            for o in self.faults
            if o.overlaps(heard, heard + SETTLED_NS)
        )

    def _alone(self, holder: str, takeover: Leadership, offset: int, sent: int) -> bool:
        """Every other replica began to lead without the record, or followed who did and had nothing to cut."""
        cut = {t.node for t in self.truncations if t.epoch == takeover.epoch and t.was > offset}
        others = [n for n in self.nodes if n != holder]
        return (
            self.trusted
            and bool(others)
            and takeover.start <= offset
            and all(
                n == takeover.node or (n not in cut and self._would_have_truncated(n, takeover))
                for n in others
            )
        )

    def steps(self, offset: int, loss: Loss | None, known: int, until: int) -> list[dict[str, Any]]:
        """Who had the record when, for a picture: a row a replica, with the end offsets that it told of. `has` is
        None where an end offset beyond the record does not tell which record stands there."""
        return [
            {"node": node, "told": self._told_by(node, offset, loss, known, until)} for node in self.nodes
        ]

    def _told_by(
        self, node: str, offset: int, loss: Loss | None, known: int, until: int
    ) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        if loss is not None and node == loss.holder:
            told.append({"time": known, "what": "held", "has": True})
        for led in self.leaderships:
            took_over = loss is not None and led == loss.takeover
            if led.node == node and (known < led.time <= until or took_over):
                step = {"time": led.time, "what": "elected", "epoch": led.epoch, "end": led.start}
                if loss is not None and took_over and led.start > offset:
                    step["parted"] = loss.parted
                told.append({**step, "has": False if led.start <= offset or took_over else None})
        for cut in self.truncations:
            if cut.node == node and known < cut.time <= until and cut.end <= offset < cut.was:
                step = {"time": cut.time, "what": "truncated", "was": cut.was, "end": cut.end}
                told.append({**step, "has": False})
        return sorted(told, key=lambda step: step["time"])


def replay(
    events: Iterable[NodeEvent], partition: str, faults: Sequence[Outage], *, trusted: bool = True
) -> Replicas:
    """Of all events those that concern the partition. What has not the shape of one is no evidence."""
    found = Replicas(partition, faults=faults, trusted=trusted)
    unclean: set[int] = set()
    nodes: dict[str, None] = {}
    for event in events:
        fields = event.fields
        if event.kind == "exited":
            found.ended.append((event.time, event.node))
            continue
        if fields.get("partition") != partition:
            continue
        found.events.append(event)
        try:
            match event.kind:
                case "partition-changed":
                    nodes.update(dict.fromkeys(str(n) for n in fields["replicas"]))
                    if fields["reason"] == "unclean-elected":
                        unclean.add(int(fields["leader_epoch"]))
                case "leader-elected":
                    epoch, start = int(fields["leader_epoch"]), int(fields["epoch_start"])
                    nodes.setdefault(event.node)
                    led = Leadership(event.time, event.node, epoch, start, epoch in unclean)
                    found.leaderships.append(led)
                case "follower":
                    nodes.setdefault(event.node)
                    found.followed.append((event.time, event.node, int(fields["leader_epoch"])))
                case "truncated":
                    nodes.setdefault(event.node)
                    end, was = int(fields["end"]), int(fields["was"])
                    cut = Truncation(event.time, event.node, end, was, int(fields["leader_epoch"]))
                    found.truncations.append(cut)
                case _:
                    pass
        except (KeyError, TypeError, ValueError):
            continue
    for outage in faults:
        if outage.kind in STOPS:
            found.ended += [(outage.start, target) for target in outage.targets]
    found.leaderships.sort(key=lambda led: (led.epoch, led.time))
    found.nodes = sorted(nodes)
    return found
