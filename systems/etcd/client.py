"""Capabilities of etcd: registers as they are, sets as one key for each element, counters by compare-and-set.

A client process begins at the member that its host's name points to, and goes on to the next one when a member fails
it. `etcd.reads=serializable` lets any member answer from what it happens to have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.capabilities import DefiniteFailure, Read
from harness.cluster import Cluster
from systems.etcd.gateway import Gateway, after_prefix, decoded, encoded

MOST_TRIES = 20


class EtcdClient:
    """What all capabilities share."""

    def __init__(self, cluster: Cluster, host: str, config: Mapping[str, Any]) -> None:
        self._addresses = [cluster.address(node.name, client=host) for node in cluster.topology.nodes]
        self._timeout_s = int(config["etcd.timeout.ms"]) / 1000
        self._serializable = config["etcd.reads"] == "serializable"
        self._at = int("".join(c for c in host if c.isdigit()) or 0)
        self._gateway: Gateway | None = None

    async def call(self, method: str, **request: Any) -> Any:
        if self._gateway is None:
            self._gateway = Gateway(self._addresses[self._at % len(self._addresses)], self._timeout_s)
        try:
            return await self._gateway.call(method, **request)
        except (DefiniteFailure, OSError):
            await self.close()
            self._at += 1
            raise

    async def range(self, key: str, **more: Any) -> list[Any]:
        answer = await self.call("kv/range", key=encoded(key), serializable=self._serializable, **more)
        return list(answer.get("kvs", ()))

    async def replace(self, key: str, held: Any | None, value: str) -> bool:
        """Writes if the key is still as it was read (None: absent)."""
        guard = {"key": encoded(key), "target": "MOD", "mod_revision": held["mod_revision"] if held else "0"}
        put = {"request_put": {"key": encoded(key), "value": encoded(value)}}
        answer = await self.call("kv/txn", compare=[guard], success=[put])
        return bool(answer.get("succeeded"))

    async def close(self) -> None:
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            await gateway.close()


class EtcdKeyValue(EtcdClient):
    async def get(self, key: str) -> Read:
        held = await self.range(key)
        if not held:
            return Read(None)
        return Read(json.loads(decoded(held[0]["value"])), int(held[0]["mod_revision"]))

    async def put(self, key: str, value: Any) -> Any:
        answer = await self.call("kv/put", key=encoded(key), value=encoded(json.dumps(value)))
        return int(answer["header"]["revision"])

    async def delete(self, key: str) -> None:
        await self.call("kv/deleterange", key=encoded(key))

    async def compare_and_set(self, key: str, old: Any, new: Any) -> bool:
        absent = {"key": encoded(key), "target": "VERSION", "version": "0"}
        same = {"key": encoded(key), "target": "VALUE", "value": encoded(json.dumps(old))}
        put = {"request_put": {"key": encoded(key), "value": encoded(json.dumps(new))}}
        answer = await self.call("kv/txn", compare=[absent if old is None else same], success=[put])
        return bool(answer.get("succeeded"))


class EtcdCounters(EtcdClient):
    async def add(self, key: str, delta: int) -> None:
        """Read and compare-and-set until nobody came between."""
        for _ in range(MOST_TRIES):
            try:
                held = await self.range(key)
            except OSError as error:
                raise DefiniteFailure(f"the read before the write: {error}") from None
            before = int(decoded(held[0]["value"])) if held else 0
            if await self.replace(key, held[0] if held else None, str(before + delta)):
                return
        raise DefiniteFailure(f"others were faster {MOST_TRIES} times")

    async def value(self, key: str) -> int:
        held = await self.range(key)
        return int(decoded(held[0]["value"])) if held else 0


class EtcdSets(EtcdClient):
    async def add(self, key: str, element: str) -> None:
        await self.call("kv/put", key=encoded(f"{key}/{element}"), value=encoded(""))

    async def remove(self, key: str, element: str) -> None:
        await self.call("kv/deleterange", key=encoded(f"{key}/{element}"))

    async def members(self, key: str) -> list[str]:
        prefix = f"{key}/"
        held = await self.range(prefix, range_end=after_prefix(prefix), keys_only=True)
        return sorted(decoded(each["key"]).removeprefix(prefix) for each in held)


CLIENTS: Mapping[str, type[EtcdClient]] = {
    "key-value": EtcdKeyValue,
    "compare-and-set": EtcdKeyValue,
    "counters": EtcdCounters,
    "sets": EtcdSets,
}
