"""One node of the store, assembled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from harness.node import NodeEnvironment
from systems.quorum.anti_entropy import AntiEntropy
from systems.quorum.consensus.messages import Decide, Held, Ranged, WhoVotes
from systems.quorum.consensus.service import Consensus
from systems.quorum.coordinator import Coordinator
from systems.quorum.hints import Handoff
from systems.quorum.liveness import Liveness
from systems.quorum.messages import CODEC, Beat, Compare, Found, Probe, Read, State, Store, Update
from systems.quorum.replica import Replica
from systems.quorum.resp.commands import Commands
from systems.quorum.resp.server import front
from systems.quorum.ring import Ring
from systems.quorum.storage import Storage
from systems.quorum.tombstones import Purge
from systems.rpc import link_to


async def run_quorum_node(env: NodeEnvironment) -> None:
    """The program of every node: runs until cancelled, ends with what made it useless."""
    node = QuorumNode(env)
    await node.run()


class QuorumNode:
    def __init__(self, env: NodeEnvironment) -> None:
        self._env = env
        names = [n.name for n in env.topology.nodes]
        self._timeout_ms = float(env.config["coordinator.timeout.ms"])
        self._links = {name: link_to(env, name, CODEC) for name in names if name != env.name}
        self._ring = Ring(names, vnodes=int(env.config["ring.vnodes"]))
        self._storage = Storage(env)
        self._replica = Replica(env, self._storage)
        self._liveness = Liveness(env, tuple(self._links), self._gossip)
        self._coordinator = Coordinator(
            env, self._ring, self._liveness, self._replica, self._storage, self._call
        )
        copies = self._coordinator.copies
        self._entropy = AntiEntropy(
            env, self._ring, copies, self._storage, self._replica, self._liveness, self._call
        )
        self._handoff = Handoff(env, self._storage, self._liveness, self._call)
        self._purge = Purge(env, self._ring, copies, self._storage, self._call)
        self._consensus = Consensus(env, lambda: self._ring, self._links, self._call, self._liveness.alive)
        self._commands = Commands(
            env, self._ring, self._coordinator, self._consensus, self._read_at, self._state
        )

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            front(CODEC, self._handle, self._commands), self._env.listen.host, self._env.listen.port
        )
        self._env.emit(
            "node-started",
            incarnation=self._env.incarnation,
            vnodes=self._ring.vnodes,
            copies=self._coordinator.copies,
        )
        work: tuple[Coroutine[Any, Any, None], ...] = (
            self._liveness.run(),
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
            self._coordinator.stop()
            for link in self._links.values():
                link.close()

    def _handle(self, message: Any) -> Any:
        match message:
            case Read():
                return self._replica.read(message)
            case Store():
                return self._replica.store(message)
            case Update():
                return self._replica.update(message)
            case Compare():
                return self._entropy.compare(message)
            case Beat():
                self._liveness.heard(message)
                return None
            case Probe():
                return self._state()
            case Ranged() | Decide() | WhoVotes() | Held():
                return self._consensus.handle(message)
        raise ConnectionError(f"nobody asks a node for {type(message).__name__}")

    async def _call(self, node: str, message: Any) -> Any:
        return await self._links[node].call(message, timeout_ms=self._timeout_ms)

    def _gossip(self, node: str, beat: Beat) -> None:
        self._links[node].send(beat)

    async def _read_at(self, node: str, request: Read) -> Found:
        if node == self._env.name:
            return await self._replica.read(request)
        found: Found = await self._call(node, request)
        return found

    def _state(self) -> State:
        return State(
            alive=tuple(n for n in self._ring.nodes if self._liveness.alive(n)),
            hints=len(self._storage.hints),
            differing=sum(self._entropy.differing.values()),
            rounds=min((self._entropy.rounds.get(peer, 0) for peer in self._links), default=0),
            comparing=int(self._env.config["anti.entropy.interval.ms"]) > 0,
            ranges=self._consensus.ranges,
            leads=self._consensus.led,
            moving=self._consensus.moving,
        )
