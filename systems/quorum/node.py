"""One node of the store, assembled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

from harness.node import NodeEnvironment
from systems.log_dir import on_log_dir
from systems.quorum.anti_entropy import AntiEntropy
from systems.quorum.consensus.messages import Decide, Held, Ranged, WhoVotes
from systems.quorum.consensus.service import Consensus
from systems.quorum.coordinator import Coordinator
from systems.quorum.hints import Handoff
from systems.quorum.liveness import Liveness
from systems.quorum.membership.agreement import Agreement
from systems.quorum.membership.change import Driver
from systems.quorum.membership.messages import AskRing, Begin, Fetch, Prepare, Propose
from systems.quorum.membership.service import Membership
from systems.quorum.membership.streaming import Streaming
from systems.quorum.messages import CODEC, Beat, Compare, Probe, Read, State, Store, Update
from systems.quorum.replica import Replica
from systems.quorum.resp.commands import Commands
from systems.quorum.resp.server import front
from systems.quorum.storage import Storage
from systems.quorum.tombstones import Purge
from systems.rpc import link_to


async def run_quorum_node(env: NodeEnvironment) -> None:
    """The program of every node: runs until cancelled, ends with what made it useless (a disk that failed, too)."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def halt(error: OSError) -> None:
        if not failed.done():
            env.emit("disk-failed", error=str(error))
            failed.set_exception(error)

    node = QuorumNode(on_log_dir(env, halt))
    work = asyncio.ensure_future(node.run())
    try:
        await asyncio.wait((work, failed), return_when=asyncio.FIRST_COMPLETED)
    finally:
        node.stop()
        work.cancel()
    await (failed if failed.done() else work)


class QuorumNode:
    def __init__(self, env: NodeEnvironment) -> None:
        self._env = env
        self._timeout_ms = float(env.config["coordinator.timeout.ms"])
        names = [n.name for n in env.topology.nodes]
        self._links = {name: link_to(env, name, CODEC) for name in names if name != env.name}
        self._storage = Storage(env)
        self._replica = Replica(env, self._storage)
        self._membership = Membership(env, self._storage, self._call, lambda peer: self._liveness.tell(peer))
        self._membership.on_change(self._replica.renew_actor)
        self._liveness = Liveness(env, tuple(self._links), self._membership, self._gossip)
        self._agreement = Agreement(env, self._storage, self._membership)
        self._streaming = Streaming(env, self._membership, self._storage, self._replica, self._liveness)
        self._consensus = Consensus(env, self._membership, self._links, self._call, self._liveness.alive)
        self._driver = Driver(
            env,
            self._storage,
            self._membership,
            self._agreement,
            self._streaming,
            self._liveness,
            self._consensus,
            self._call,
        )
        self._coordinator = Coordinator(env, self._membership, self._liveness, self._storage)
        self._entropy = AntiEntropy(env, self._membership, self._storage, self._replica, self._liveness)
        self._handoff = Handoff(env, self._membership, self._storage, self._liveness)
        self._purge = Purge(env, self._membership, self._storage)
        self._commands = Commands(env, self._membership, self._coordinator, self._consensus, self._state)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        # A disk that forgets who it is would take part under another name after every loss of power.
        await self._storage.hardened()
        server = await loop.create_server(
            front(CODEC, self._handle, self._commands), self._env.listen.host, self._env.listen.port
        )
        self._env.emit(
            "node-started",
            incarnation=self._env.incarnation,
            vnodes=int(self._env.config["ring.vnodes"]),
            copies=self._coordinator.copies,
        )
        work: tuple[Coroutine[Any, Any, None], ...] = (
            self._liveness.run(),
            self._streaming.run(),
            self._driver.run(),
            self._entropy.run(),
            self._handoff.run(),
            self._purge.run(),
            self._consensus.run(),
            self._storage.sync_periodically(),
        )
        try:
            async with asyncio.TaskGroup() as group:
                for one in work:
                    group.create_task(one)
                await server.serve_forever()
        finally:
            server.close()
            self.stop()

    def stop(self) -> None:
        """At once: nothing more is sent or answered."""
        self._coordinator.stop()
        for link in self._links.values():
            link.close()

    def _handle(self, message: Any) -> Any:
        match message:
            case Read() | Store() | Update() | Compare() | Fetch():
                return self._in_ring(message)
            case Beat():
                self._liveness.heard(message)
                return None
            case Prepare():
                return self._agreement.on_prepare(message)
            case Propose():
                return self._agreement.on_propose(message)
            case AskRing():
                return self._driver.on_ask_ring(message)
            case Begin():
                return self._driver.on_begin(message)
            case Probe():
                return self._state()
            case Ranged() | Decide() | WhoVotes() | Held():
                return self._consensus.handle(message)
        raise ConnectionError(f"nobody asks a node for {type(message).__name__}")

    async def _in_ring(self, message: Read | Store | Update | Compare | Fetch) -> Any:
        """Nothing may come between the look at the epoch and what is read or merged: this is one step up to the first
        wait inside."""
        refused = self._membership.refuses(message.epoch)
        if refused is not None:
            return refused
        match message:
            case Read():
                return await self._replica.read(message)
            case Store():
                return await self._replica.store(message)
            case Update():
                return await self._replica.update(message)
            case Compare():
                return self._entropy.compare(message)
            case Fetch():
                return await self._streaming.on_fetch(message)

    async def _call(self, node: str, message: Any) -> Any:
        if node == self._env.name:
            answer = self._handle(message)
            return await answer if isinstance(answer, Awaitable) else answer
        return await self._links[node].call(message, timeout_ms=self._timeout_ms)

    def _gossip(self, node: str, beat: Beat) -> None:
        self._links[node].send(beat)

    def _state(self) -> State:
        ring = self._membership.state
        peers = [name for name in ring.members if name != self._env.name]
        return State(
            alive=tuple(name for name in ring.members if self._liveness.alive(name)),
            hints=len(self._storage.hints),
            differing=sum(self._entropy.differing.get(peer, 0) for peer in peers),
            rounds=min((self._entropy.rounds.get(peer, 0) for peer in peers), default=0),
            comparing=int(self._env.config["anti.entropy.interval.ms"]) > 0,
            ranges=self._consensus.ranges,
            leads=self._consensus.led,
            moving=self._consensus.moving,
            epoch=ring.epoch,
            members=tuple(ring.members),
            serving=self._membership.serving,
            changing=ring.stage != "stable" or self._driver.busy,
        )
