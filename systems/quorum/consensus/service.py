"""All ranges at one node, the coordinator's way to their leaders, and the leaders' care for who votes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from harness.node import NodeEnvironment
from systems.quorum.consensus.group import DISKS, RangeGroup, node_of
from systems.quorum.consensus.messages import Decide, Decided, Held, Ranged, RangedReply, Voter, WhoVotes
from systems.quorum.errors import Timeout, Unavailable
from systems.quorum.membership.service import Membership
from systems.quorum.ring import Ring, range_of
from systems.rpc import Link

_DISK: Final = "disk-number"
_NUMBER: Final = struct.Struct(">I")
_RETRY_S: Final = 0.05
_TEND_S: Final = 0.5


class Consensus:
    """`call(node, message)`: the answer of a peer, or OSError / TimeoutError."""

    def __init__(
        self,
        env: NodeEnvironment,
        membership: Membership,
        links: Mapping[str, Link],
        call: Callable[[str, Any], Awaitable[Any]],
        alive: Callable[[str], bool],
    ) -> None:
        self._env = env
        self._membership = membership
        self._call = call
        self._alive = alive
        self.on = env.config["conflict"] == "raft"
        self._ranges = int(env.config["consensus.ranges"])
        self._copies = int(env.config["replication.factor"])
        self._timeout_s = int(env.config["coordinator.timeout.ms"]) / 1000
        self._names = {node.id: node.name for node in env.topology.nodes}
        self._links = {node.id: links[node.name] for node in env.topology.nodes if node.name != env.name}
        self._voter = -1
        """Not known before the disk has been read."""
        self._groups: dict[int, RangeGroup] = {}
        self._leaders: dict[int, str] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def range_of(self, key: str) -> int:
        return range_of(key, self._ranges)

    def preferred(self, number: int) -> tuple[str, ...]:
        """The nodes that are to vote on a range: the preference list of its name."""
        return self._membership.placement.ring.preference(f"range-{number}", self._copies)

    @property
    def ranges(self) -> int:
        return self._ranges if self.on else 0

    @property
    def led(self) -> tuple[int, ...]:
        """The ranges that this node leads."""
        return tuple(sorted(number for number, group in self._groups.items() if group.leads))

    @property
    def settled(self) -> tuple[int, ...]:
        """Of these, the ranges that have the voters that the ring wants."""
        epoch = self._membership.epoch
        return tuple(number for number in self.led if self._groups[number].settled_at == epoch)

    @property
    def moving(self) -> bool:
        return len(self.settled) < len(self.led)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until cancelled; raises the OSError of a disk that failed."""
        if not self.on:
            return
        founding = await self._identified()
        names = {node.name for node in self._env.topology.founders}
        ids = {node.name: node.id for node in self._env.topology.nodes}
        ring = Ring(names, vnodes=int(self._env.config["ring.vnodes"]))
        for number in range(self._ranges):
            founders = ring.preference(f"range-{number}", self._copies)
            if founding and self._env.name in founders:
                self._open(number, tuple(sorted(ids[name] * DISKS for name in founders)))
            elif self._env.disk.list(f"range-{number:03}/"):
                self._open(number, ())
        try:
            await asyncio.gather(self._tend(), self._failed)
        finally:
            for group in self._groups.values():
                group.raft.stop()

    async def _identified(self) -> bool:
        """Finds out, and writes down, which voter this is. A founder's first disk is number 0 (as an operator says
        of a new cluster); on any later one nothing is known of what this node has promised before. Whether this is
        a founder's first disk."""
        disk = self._env.disk
        if disk.exists(_DISK) and disk.size(_DISK) == _NUMBER.size:
            number: int = _NUMBER.unpack(disk.read(_DISK))[0]
        else:
            first = self._env.founder and self._env.incarnation == 0
            number = 0 if first else 1 + self._env.random.getrandbits(31)
            if "amnesiac-replica-answers" in self._env.bugs and self._env.founder:
                number = 0
            disk.write(_DISK, _NUMBER.pack(number))
            await disk.fsync(_DISK)
        self._voter = self._env.id * DISKS + number
        return number == 0

    def _open(self, number: int, founders: tuple[int, ...]) -> RangeGroup:
        group = RangeGroup(
            self._env, number, self._voter, founders, self._links, lambda node: self._names.get(node, "")
        )
        self._groups[number] = group
        group.raft.failed.add_done_callback(self._disk_failed)
        group.raft.start()
        return group

    def _disk_failed(self, failed: asyncio.Future[None]) -> None:
        if not failed.cancelled() and not self._failed.done():
            error = failed.exception()
            assert error is not None
            self._failed.set_exception(error)

    async def _tend(self) -> None:
        """The leader of a range moves its voters, one at a time, to where the ring wants them."""
        while True:
            await asyncio.sleep(_TEND_S)
            for group in list(self._groups.values()):
                if group.leads:
                    await self._tend_one(group)

    async def _tend_one(self, group: RangeGroup) -> None:
        """Nothing is moved while one of the nodes does not say who it is: as long, it counts as the one that votes."""
        epoch = self._membership.epoch
        preferred = self.preferred(group.number)
        said = {node: await self._voter_of(node) for node in preferred}
        if not group.leads or epoch != self._membership.epoch:
            return
        present = group.raft.voters
        silent = {node for node, voter in said.items() if voter is None}
        kept = [voter for voter in present if self._names[node_of(voter)] in silent]
        wanted = [voter for voter in said.values() if voter is not None]
        if len(present) == len(preferred) and {*wanted, *kept} == set(present):
            group.settled_at = epoch
        elif not silent:
            group.approach(tuple(wanted), gone=lambda voter: self._gone(voter, said))

    def _gone(self, voter: int, said: Mapping[str, int | None]) -> bool:
        """Whether it will not answer: its node is down, or has another disk."""
        name = self._names[node_of(voter)]
        return said[name] != voter if name in said else not self._alive(name)

    async def _voter_of(self, node: str) -> int | None:
        if node == self._env.name:
            return self._voter
        try:
            said: Voter = await self._call(node, WhoVotes())
        except (OSError, TimeoutError):
            return None
        return said.id if said.id >= 0 else None

    # ── the peers' requests ──────────────────────────────────────────────────────────────────────────

    def handle(self, message: Ranged | Decide | WhoVotes | Held) -> Any:
        match message:
            case Ranged():
                if message.to != self._voter:
                    return RangedReply()
                group = self._groups.get(message.range) or self._open(message.range, ())
                return group.handle(message)
            case Decide():
                return self._decide_here(message)
            case WhoVotes():
                return Voter(self._voter)
            case Held():
                held = self._groups.get(message.range)
                version, value = (0, None) if held is None else held.machine.held(message.key)
                return Decided("done", version, value)

    # ── the coordinator ──────────────────────────────────────────────────────────────────────────────

    async def decide(self, kind: str, key: str, value: Any = None, expected: Any = None) -> Decided:
        """Raises `Unavailable` (certainly nothing happened) or `Timeout`."""
        number = self.range_of(key)
        command = Decide(number, kind, key, value, expected, self._env.wall_clock.time_ns())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        turn = 0
        while loop.time() < deadline:
            nodes = [n for n in self.preferred(number) if self._alive(n)] or self.preferred(number)
            node = self._leaders.pop(number, "") or nodes[turn % len(nodes)]
            turn += 1
            try:
                async with asyncio.timeout_at(deadline):
                    decided = await self._ask(node, command)
            except ConnectionRefusedError:
                # Nobody listens there: nothing was sent.
                decided = Decided("elsewhere")
            except (OSError, TimeoutError) as error:
                if kind == "read" and loop.time() < deadline:
                    continue
                raise Timeout(f"{node} did not say: {str(error) or type(error).__name__}") from None
            if decided.outcome == "done":
                self._leaders[number] = node
                return decided
            if decided.outcome == "unknown":
                raise Timeout(f"{node} was deposed meanwhile")
            if decided.leader and decided.leader != node:
                self._leaders[number] = decided.leader
            else:
                await asyncio.sleep(_RETRY_S)
        raise Unavailable(f"no leader of range {number} answers")

    async def _ask(self, node: str, command: Decide) -> Decided:
        if node == self._env.name:
            return await self._decide_here(command)
        decided: Decided = await self._call(node, command)
        return decided

    async def _decide_here(self, command: Decide) -> Decided:
        group = self._groups.get(command.range)
        return Decided("elsewhere") if group is None else await group.decide(command)

    async def held_at(self, node: str, key: str) -> Decided:
        request = Held(self.range_of(key), key)
        if node == self._env.name:
            decided: Decided = self.handle(request)
        else:
            decided = await self._call(node, request)
        return decided
