"""Capabilities of Redis. The primary is found through the Sentinels, as Redis' own clients find it, and kept until it
refuses or breaks off. A `WAIT` that is not satisfied takes nothing back: the outcome is unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.capabilities import DefiniteFailure, Read
from harness.cluster import Cluster
from harness.foreign import STARTED
from systems.redis import SENTINEL, SERVER, SERVICE
from systems.redis.connection import RedisConnection, ask

COMPARE_AND_SET = """
local held = redis.call('GET', KEYS[1])
if (held == false and ARGV[1] == 'null') or held == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
  return 1
end
return 0
"""


class RedisClient:
    """What all capabilities share."""

    def __init__(self, cluster: Cluster, host: str, config: Mapping[str, Any]) -> None:
        self._cluster, self._host = cluster, host
        self._timeout_s = int(config["redis.timeout.ms"]) / 1000
        self._wait = int(config["redis.wait"])
        self._anywhere = config["redis.reads"] == "any"
        self._at = int("".join(c for c in host if c.isdigit()) or 0)
        self._primary: RedisConnection | None = None
        self._reader: RedisConnection | None = None

    async def write(self, *words: str | int) -> Any:
        """Acknowledged by the primary, and by as many replicas as asked for."""
        try:
            primary = await self._to_primary()
            done = await primary.call(*words)
            if self._wait:
                reached = await primary.call("WAIT", self._wait, int(self._timeout_s * 500))
                if reached < self._wait:
                    raise ConnectionError(f"{reached} of {self._wait} replicas acknowledged")
        except (DefiniteFailure, OSError):
            await self.close()
            raise
        return done

    async def read(self, *words: str | int) -> Any:
        try:
            source = await (self._to_any() if self._anywhere else self._to_primary())
            return await source.call(*words)
        except (DefiniteFailure, OSError):
            await self.close()
            self._at += 1
            raise

    async def _to_primary(self) -> RedisConnection:
        if self._primary is None:
            self._primary = self._connection(await self._discover())
        return self._primary

    async def _to_any(self) -> RedisConnection:
        if self._reader is None:
            servers = self._cluster.topology.with_role(SERVER)
            self._reader = self._connection(servers[self._at % len(servers)].name)
        return self._reader

    async def _discover(self) -> str:
        """Failing here, nothing was asked of any server."""
        sentinels = self._cluster.topology.with_role(SENTINEL)
        why = "no Sentinel answers"
        for turn in range(len(sentinels)):
            sentinel = sentinels[(self._at + turn) % len(sentinels)].name
            address = self._cluster.address(sentinel, client=self._host)
            try:
                host, port = await ask(
                    address, self._timeout_s, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE
                )
            except (DefiniteFailure, OSError) as error:
                why = str(error)
                continue
            name = node_at(self._cluster, host, int(port))
            if name is not None:
                return name
            why = f"no node is known at {host}:{port}"
        self._at += 1
        raise DefiniteFailure(f"who is the primary? {why}")

    def _connection(self, node: str) -> RedisConnection:
        return RedisConnection(self._cluster.address(node, client=self._host), self._timeout_s)

    async def close(self) -> None:
        for connection in (self._primary, self._reader):
            if connection is not None:
                await connection.close()
        self._primary = self._reader = None


def node_at(cluster: Cluster, host: str, port: int) -> str | None:
    """Whose address among the nodes it is."""
    for event in reversed(cluster.events):
        if event.kind == STARTED and (event.fields["host"], event.fields["port"]) == (host, port):
            return event.node
    return None


class RedisKeyValue(RedisClient):
    async def get(self, key: str) -> Read:
        held = await self.read("GET", key)
        return Read(None if held is None else json.loads(held))

    async def put(self, key: str, value: Any) -> Any:
        await self.write("SET", key, json.dumps(value))

    async def delete(self, key: str) -> None:
        await self.write("DEL", key)

    async def compare_and_set(self, key: str, old: Any, new: Any) -> bool:
        return bool(await self.write("EVAL", COMPARE_AND_SET, 1, key, json.dumps(old), json.dumps(new)))


class RedisCounters(RedisClient):
    async def add(self, key: str, delta: int) -> None:
        await self.write("INCRBY", key, delta)

    async def value(self, key: str) -> int:
        return int(await self.read("GET", key) or 0)


class RedisSets(RedisClient):
    async def add(self, key: str, element: str) -> None:
        await self.write("SADD", key, element)

    async def remove(self, key: str, element: str) -> None:
        await self.write("SREM", key, element)

    async def members(self, key: str) -> list[str]:
        return sorted(await self.read("SMEMBERS", key))


CLIENTS: Mapping[str, type[RedisClient]] = {
    "key-value": RedisKeyValue,
    "compare-and-set": RedisKeyValue,
    "counters": RedisCounters,
    "sets": RedisSets,
}
