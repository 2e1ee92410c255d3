"""What a node program gets in a simulation: `harness.node.NodeEnvironment` for one life of one node."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from harness.node import Address, MessageDelays
from harness.sim.clock import SimWallClock
from harness.sim.disk import SimDisk
from harness.sim.errors import ProcessKilled
from harness.sim.host import DEAD, Process
from harness.topology import NodeInfo, Topology


class LivingDisk:
    """The host's disk as one process sees it: a dead one can touch it no more."""

    def __init__(self, process: Process, disk: SimDisk) -> None:
        self._process = process
        self._disk = disk

    def _alive(self) -> SimDisk:
        if self._process.state == DEAD:
            raise ProcessKilled
        return self._disk

    def list(self, prefix: str = "") -> list[str]:
        return self._alive().list(prefix)

    def exists(self, name: str) -> bool:
        return self._alive().exists(name)

    def size(self, name: str) -> int:
        return self._alive().size(name)

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        return self._alive().read(name, offset, length)

    def append(self, name: str, data: bytes) -> int:
        return self._alive().append(name, data)

    def write(self, name: str, data: bytes) -> None:
        self._alive().write(name, data)

    def truncate(self, name: str, size: int) -> None:
        self._alive().truncate(name, size)

    def rename(self, source: str, target: str) -> None:
        self._alive().rename(source, target)

    def remove(self, name: str) -> None:
        self._alive().remove(name)

    async def fsync(self, name: str) -> None:
        await self._alive().fsync(name)


class SimEnvironment:
    """One node's world during one life."""

    def __init__(
        self,
        *,
        info: NodeInfo,
        topology: Topology,
        process: Process,
        rng: random.Random,
        config: Mapping[str, Any],
        bugs: frozenset[str],
        on_emit: Callable[[str, str, dict[str, Any]], None],
        on_step: Callable[[str, str], None],
        founder: bool,
        delays: MessageDelays,
    ) -> None:
        self._info = info
        self._topology = topology
        self._process = process
        self._disk = LivingDisk(process, process.host.disk)
        self._random = rng
        self._config = config
        self._bugs = bugs
        self._on_emit = on_emit
        self._on_step = on_step
        self._founder = founder
        self._delays = delays
        self._listen = Address(info.name, info.port)

    @property
    def name(self) -> str:
        return self._info.name

    @property
    def id(self) -> int:
        return self._info.id

    @property
    def role(self) -> str:
        return self._info.role

    @property
    def topology(self) -> Topology:
        return self._topology

    @property
    def disk(self) -> LivingDisk:
        return self._disk

    @property
    def wall_clock(self) -> SimWallClock:
        return self._process.host.clock

    @property
    def random(self) -> random.Random:
        return self._random

    @property
    def config(self) -> Mapping[str, Any]:
        return self._config

    @property
    def bugs(self) -> frozenset[str]:
        return self._bugs

    @property
    def incarnation(self) -> int:
        return self._process.incarnation

    @property
    def founder(self) -> bool:
        return self._founder

    @property
    def delays(self) -> MessageDelays:
        return self._delays

    @property
    def listen(self) -> Address:
        return self._listen

    @property
    def advertised(self) -> Address:
        return self._listen

    def peer(self, name: str) -> Address:
        return Address(name, self._topology.named(name).port)

    def emit(self, kind: str, /, **fields: Any) -> None:
        if self._process.state == DEAD:
            raise ProcessKilled
        self._on_emit(self._info.name, kind, fields)
        if self._process.state == DEAD:
            raise ProcessKilled

    def step(self, name: str) -> None:
        """Where an armed action kills this node, its program goes no further: `ProcessKilled` unwinds it."""
        if self._process.state == DEAD:
            raise ProcessKilled
        self._on_step(self._info.name, name)
        if self._process.state == DEAD:
            raise ProcessKilled
