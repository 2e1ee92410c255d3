"""A node environment without a simulator: for tests that drive one part of a broker by hand."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.node import Address, MessageDelays
from harness.topology import NodeInfo, Topology


class MemoryDisk:
    """Bytes in memory; `durable` is what the last fsync of each file covered."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.durable: dict[str, bytes] = {}

    def list(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self.files if name.startswith(prefix))

    def exists(self, name: str) -> bool:
        return name in self.files

    def _file(self, name: str) -> bytearray:
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name]

    def size(self, name: str) -> int:
        return len(self._file(name))

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        data = self._file(name)
        return bytes(data[offset:] if length < 0 else data[offset : offset + length])

    def append(self, name: str, data: bytes) -> int:
        self.files.setdefault(name, bytearray()).extend(data)
        return len(self.files[name])

    def write(self, name: str, data: bytes) -> None:
        self.files[name] = bytearray(data)

    def truncate(self, name: str, size: int) -> None:
        del self._file(name)[size:]

    def rename(self, source: str, target: str) -> None:
        self.files[target] = self.files.pop(source)

    def remove(self, name: str) -> None:
        self._file(name)
        del self.files[name]

    async def fsync(self, name: str) -> None:
        self.durable[name] = bytes(self._file(name))


class FixedClock:
    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000

    def time_ns(self) -> int:
        return self.now_ns


class MemoryEnvironment:
    """Implements `harness.node.NodeEnvironment`; `events` keeps what was emitted."""

    def __init__(
        self, name: str = "b1", *, config: Mapping[str, Any] | None = None, bugs: frozenset[str] = frozenset()
    ) -> None:
        self.topology = Topology(
            nodes=tuple(NodeInfo(f"b{i}", "broker", i, 9092) for i in (1, 2, 3))
            + tuple(NodeInfo(f"c{i}", "controller", 100 + i, 9093) for i in (1, 2, 3))
        )
        info = self.topology.named(name)
        self.name, self.id, self.role = name, info.id, info.role
        self.disk = MemoryDisk()
        self.wall_clock = FixedClock()
        self.random = random.Random(0)
        self.config: Mapping[str, Any] = dict(config or {})
        self.bugs = bugs
        self.incarnation = 0
        self.founder = True
        self.delays = MessageDelays(self.random.random)
        self.listen = self.advertised = Address("127.0.0.1", 0)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.addresses: dict[str, Address] = {}

    def peer(self, name: str) -> Address:
        return self.addresses[name]

    def emit(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))

    def step(self, name: str) -> None: ...
