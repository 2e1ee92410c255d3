"""One Redis server or one Sentinel: its configuration, and what it says of itself.

Both rewrite their configuration files when the primary changes: what is there is never written anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.capabilities import DefiniteFailure
from harness.foreign import PATIENCE_S
from harness.node import Address
from harness.process import NodeFile
from systems.redis import SENTINEL, SERVER, SERVICE
from systems.redis.connection import RedisConnection


def redis_node(file: NodeFile) -> RedisServer | Sentinel:
    return Sentinel(file) if file.topology.named(file.name).role == SENTINEL else RedisServer(file)


class _Node:
    program: str

    def __init__(self, file: NodeFile) -> None:
        self.file = file
        self._connection = RedisConnection(Address(*file.listen), PATIENCE_S)

    def prepare(self) -> Sequence[str]:
        place = Path(self.file.data) / f"{self.program}.conf"
        if not place.exists():
            place.write_text("".join(f"{line}\n" for line in self.configuration()))
        return (self.program, str(place))

    def configuration(self) -> list[str]:
        host, port = self.file.listen
        return [f"bind {host}", f"port {port}", "protected-mode no", "daemonize no"]

    async def look(self) -> Mapping[str, Any] | None:
        try:
            return await self.ask()
        except DefiniteFailure:
            return None

    async def ask(self) -> Mapping[str, Any]:
        raise NotImplementedError


class RedisServer(_Node):
    program = "redis-server"

    def configuration(self) -> list[str]:
        file, config = self.file, self.file.config
        host, port = file.peers[file.name]
        lines = [
            *super().configuration(),
            f"replica-announce-ip {host}",
            f"replica-announce-port {port}",
            'save ""',
            "repl-diskless-sync-delay 0",
            "repl-ping-replica-period 1",
            f"repl-timeout {config['repl-timeout']}",
            f"appendonly {config['appendonly']}",
            f"appendfsync {config['appendfsync']}",
            f"min-replicas-to-write {config['min-replicas-to-write']}",
            f"min-replicas-max-lag {config['min-replicas-max-lag']}",
        ]
        primary = file.topology.with_role(SERVER)[0].name
        if file.name != primary:
            lines.append("replicaof {} {}".format(*file.peers[primary]))
        return lines

    async def ask(self) -> Mapping[str, Any]:
        role, *more = await self._connection.call("ROLE")
        if role == "master":
            return {"role": "primary"}
        host, port, link, _ = more
        return {"role": "replica", "of": f"{host}:{port}", "link": link}


class Sentinel(_Node):
    program = "redis-sentinel"

    def configuration(self) -> list[str]:
        file, config = self.file, self.file.config
        host, port = file.peers[file.name]
        primary_host, primary_port = file.peers[file.topology.with_role(SERVER)[0].name]
        majority = len(file.topology.with_role(SENTINEL)) // 2 + 1
        return [
            *super().configuration(),
            f"sentinel monitor {SERVICE} {primary_host} {primary_port} {majority}",
            f"sentinel down-after-milliseconds {SERVICE} {config['down-after-milliseconds']}",
            f"sentinel failover-timeout {SERVICE} {config['failover-timeout']}",
            f"sentinel announce-ip {host}",
            f"sentinel announce-port {port}",
        ]

    async def ask(self) -> Mapping[str, Any]:
        host, port = await self._connection.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return {"primary": f"{host}:{port}"}
