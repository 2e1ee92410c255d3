"""A lossy world for `RaftCore`s: a network that drops, doubles and reorders, nodes that crash before a save
is durable, and the invariants of the Raft paper (figure 3), checked after every step."""

from __future__ import annotations

import random
from typing import NamedTuple

from systems.raft.core import (
    NOBODY,
    Change,
    Persistent,
    RaftConfig,
    RaftCore,
    SaveEntries,
    SavePoint,
    SaveSnapshot,
    SaveVote,
)
from systems.raft.log import RaftLog
from systems.raft.messages import Entry, PeerReply, PeerRequest, Snapshot
from systems.raft.voters import ChangeRefused


class InvariantBroken(AssertionError):
    pass


class Packet(NamedTuple):
    target: int
    message: PeerRequest | PeerReply
    is_reply: bool


class Node:
    """One machine: what is durable survives `crash`, the core does not."""

    def __init__(self) -> None:
        self.vote = SaveVote(0, NOBODY)
        self.log = RaftLog()
        self.core: RaftCore | None = None
        self.saving: tuple[list[Change], SavePoint] | None = None
        self.durable = 0
        self.held: list[tuple[int, Packet]] = []
        self.applied = 0

    def persist(self, change: Change) -> None:
        match change:
            case SaveVote():
                self.vote = change
            case SaveEntries():
                if change.first_index <= self.log.last_index:
                    self.log.truncate_from(change.first_index)
                self.log.append(change.entries)
            case SaveSnapshot():
                self.log = RaftLog(change.snapshot, change.entries)


class World:
    def __init__(
        self,
        size: int,
        rng: random.Random,
        bugs: frozenset[str] = frozenset(),
        unrest: float = 0.01,
        voters: int | None = None,
    ) -> None:
        """`unrest` is the share of steps that crash, restart or cut something. The first `voters` nodes vote in the
        beginning (all of them where it is None); with fewer than all, `step` changes who votes too."""
        self.rng = rng
        self.unrest = unrest
        self.bugs = bugs
        self.now_ms = 0.0
        self.ids = tuple(range(1, size + 1))
        self.founders = self.ids[: voters or size]
        self.changes = 0
        self.nodes = {i: Node() for i in self.ids}
        self.packets: list[Packet] = []
        self.blocked: set[tuple[int, int]] = set()
        self.committed: dict[int, Entry] = {}
        self.leaders: dict[int, int] = {}
        self.seen: dict[tuple[int, int], tuple[bytes, int | None]] = {}
        self.proposals = 0
        for i in self.ids:
            self.start(i)

    # What happens to nodes

    def start(self, i: int) -> None:
        node = self.nodes[i]
        log = RaftLog(node.log.snapshot, node.log.after(node.log.snapshot.index, 1 << 30))
        term = max(node.vote.term, log.last_term)
        vote = node.vote.voted_for if node.vote.term == term else NOBODY
        config = RaftConfig(id=i, voters=self.founders, entries_per_append=3, bugs=self.bugs)
        node.core = RaftCore(
            config, Persistent(term, vote, log), self.rng, self.now_ms, lambda t: f"open {t} by {i}".encode()
        )
        node.saving, node.durable, node.held, node.applied = None, 0, [], log.snapshot.index

    def crash(self, i: int) -> None:
        node = self.nodes[i]
        if node.saving is not None and self.rng.random() < 0.3:
            # The write was on its way: some of it may be durable although nobody was told.
            changes, _ = node.saving
            for change in changes[: self.rng.randrange(len(changes) + 1)]:
                node.persist(change)
        node.core = None
        for _, packet in node.held:
            self.lose(packet)

    # Steps

    def step(self) -> None:
        if self.rng.random() < self.unrest:
            self.disturb()
            self.check()
            return
        kind = self.rng.random()
        if kind < 0.5 and self.packets:
            self.deliver()
        elif kind < 0.8:
            self.save(self.rng.choice(self.ids))
        elif kind < 0.92:
            self.pass_time(self.rng.expovariate(1 / 40))
        elif kind < 0.98:
            if len(self.founders) < len(self.ids) and self.rng.random() < 0.6:
                self.change_voters()
            else:
                self.propose()
        else:
            self.compact(self.rng.choice(self.ids))
        self.check()

    def disturb(self) -> None:
        down = [i for i in self.ids if self.nodes[i].core is None]
        i = self.rng.choice(down if down and self.rng.random() < 0.7 else self.ids)
        if self.nodes[i].core is None:
            self.start(i)
        elif self.rng.random() < 0.6:
            self.crash(i)
        else:
            self.blocked = (
                {(a, b) for a in self.ids for b in self.ids if a != b and self.rng.random() < 0.3}
                if self.rng.random() < 0.5
                else set()
            )

    def heal(self) -> None:
        self.blocked = set()
        for i in self.ids:
            if self.nodes[i].core is None:
                self.start(i)

    def run_calmly(self, steps: int) -> None:
        """No faults: everything is delivered and saved."""
        for _ in range(steps):
            while self.packets:
                packet = self.packets.pop(0)
                self.receive(packet)
                for i in self.ids:
                    self.save(i)
            for i in self.ids:
                self.save(i)
            self.pass_time(50)
            self.check()

    def pass_time(self, ms: float) -> None:
        self.now_ms += ms
        for i in self.ids:
            core = self.nodes[i].core
            if core is not None and self.now_ms >= core.deadline_ms:
                core.tick(self.now_ms)
                self.collect(i)

    def propose(self) -> int | None:
        leaders = [i for i in self.ids if (c := self.nodes[i].core) is not None and c.is_leader]
        if not leaders:
            return None
        i = self.rng.choice(leaders)
        core = self.nodes[i].core
        assert core is not None
        self.proposals += 1
        index = core.propose(f"proposal {self.proposals}".encode())
        self.collect(i)
        return index

    def change_voters(self) -> None:
        leaders = [i for i in self.ids if (c := self.nodes[i].core) is not None and c.is_leader]
        if not leaders:
            return
        i = self.rng.choice(leaders)
        core = self.nodes[i].core
        assert core is not None
        present = core.voters.current
        other = self.rng.choice(self.ids)
        if other in present:
            wanted = tuple(v for v in present if v != other)
        elif core.caught_up(other):
            wanted = (*present, other)
        else:
            core.learn((other,), self.now_ms)
            return
        if len(wanted) < 2:
            return
        try:
            core.change_voters(wanted, self.now_ms)
        except ChangeRefused:
            return
        self.changes += 1
        self.collect(i)

    def compact(self, i: int) -> None:
        node = self.nodes[i]
        if node.core is not None and node.applied > node.core.log.snapshot.index + 5:
            term = node.core.log.term_at(node.applied)
            assert term is not None
            voters = node.core.voters.at(node.applied)
            node.core.compact(Snapshot(node.applied, term, str(node.applied).encode(), voters))
            self.collect(i)

    def deliver(self) -> None:
        if not self.packets:
            return
        position = self.rng.randrange(len(self.packets))
        packet = self.packets[position]
        if self.rng.random() > 0.1:
            del self.packets[position]  # else it stays, and is delivered again
        if self.rng.random() < 0.1 or (packet.message.source, packet.target) in self.blocked:
            self.lose(packet)
            return
        self.receive(packet)

    def lose(self, packet: Packet) -> None:
        """Whoever made the request learns in the end that no reply came."""
        source, target = packet.message.source, packet.target
        requester, peer = (target, source) if packet.is_reply else (source, target)
        core = self.nodes[requester].core
        if core is not None:
            core.on_unreachable(peer)

    def receive(self, packet: Packet) -> None:
        node = self.nodes[packet.target]
        if node.core is None:
            self.lose(packet)
            return
        if packet.is_reply:
            node.core.on_reply(packet.message, self.now_ms)  # type: ignore[arg-type]
        else:
            reply = node.core.on_request(packet.message, self.now_ms)  # type: ignore[arg-type]
            node.held.append((node.core.sequence, Packet(packet.message.source, reply, True)))
        self.collect(packet.target)

    def save(self, i: int) -> None:
        """The save in flight completes, or the next begins."""
        node = self.nodes[i]
        if node.core is None:
            return
        if node.saving is None:
            if node.core.has_unsaved:
                node.saving = node.core.take_unsaved()
            return
        changes, point = node.saving
        node.saving = None
        for change in changes:
            node.persist(change)
        node.durable = point.sequence
        node.core.saved(point)
        self.collect(i)

    def collect(self, i: int) -> None:
        node = self.nodes[i]
        core = node.core
        assert core is not None
        outbox, core.outbox = core.outbox, []
        node.held += [(core.sequence, Packet(peer, request, False)) for peer, request in outbox]
        self.packets += [p for sequence, p in node.held if sequence <= node.durable]
        node.held = [(s, p) for s, p in node.held if s > node.durable]
        if core.is_leader:
            self.note_leader(i, core)
        if core.log.snapshot.index > node.applied:
            node.applied = core.log.snapshot.index
        while node.applied < core.commit:
            node.applied += 1
            self.note_applied(node.applied, core.log.entry(node.applied))

    # Invariants

    def note_leader(self, i: int, core: RaftCore) -> None:
        known = self.leaders.setdefault(core.term, i)
        if known != i:
            raise InvariantBroken(f"election safety: {known} and {i} lead term {core.term}")

    def note_applied(self, index: int, entry: Entry) -> None:
        known = self.committed.setdefault(index, entry)
        if known != entry:
            raise InvariantBroken(f"state machine safety: {known} and {entry} applied at {index}")

    def check(self) -> None:
        for i in self.ids:
            core = self.nodes[i].core
            if core is None:
                continue
            self.check_matching(core)
            if core.is_leader and self.newest_leader() == i:
                self.check_completeness(core)

    def newest_leader(self) -> int:
        return self.leaders[max(self.leaders)] if self.leaders else NOBODY

    def check_matching(self, core: RaftCore) -> None:
        """Log matching, by induction: (index, term) determines the entry and the term before it."""
        log = core.log
        for index in range(max(log.snapshot.index + 1, log.last_index - 5), log.last_index + 1):
            entry = log.entry(index)
            fact = (entry.data, log.term_at(index - 1))
            known = self.seen.setdefault((index, entry.term), fact)
            if known != fact:
                raise InvariantBroken(f"log matching: {known} and {fact} at {index} of term {entry.term}")

    def check_completeness(self, core: RaftCore) -> None:
        for index in range(
            max(core.log.snapshot.index + 1, len(self.committed) - 5), len(self.committed) + 1
        ):
            if index in self.committed and (
                index > core.log.last_index or core.log.entry(index) != self.committed[index]
            ):
                raise InvariantBroken(f"leader completeness: {core.config.id} lacks entry {index}")
