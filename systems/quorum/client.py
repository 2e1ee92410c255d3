"""The store's client, one object for every capability: RESP over asyncio streams, one connection at a time.

A client process begins at the node that its host's name points to, and goes on to the next one when a node refuses
or breaks off. `UNAVAILABLE` certainly had no effect; whatever else goes wrong may have had one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.capabilities import Concurrent, DefiniteFailure, Indeterminate, Read
from harness.cluster import Cluster
from systems.quorum.ring import token


class StoreError(Indeterminate):
    """An error answer that says nothing of the effect."""


class Connection:
    """Request and answer in turn."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def call(self, *words: str) -> Any:
        """Raises `DefiniteFailure`, `StoreError`, or OSError where the connection ends."""
        encoded = [word.encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded), *(b"$%d\r\n%b\r\n" % (len(w), w) for w in encoded)]
        self._writer.write(b"".join(parts))
        return await self._answer()

    async def _answer(self) -> Any:
        line = await self._reader.readuntil(b"\r\n")
        kind, text = line[:1], line[1:-2]
        match kind:
            case b"+":
                return text.decode()
            case b"-":
                code, _, said = text.decode().partition(" ")
                if code == "UNAVAILABLE":
                    raise DefiniteFailure(said)
                raise StoreError(f"{code} {said}")
            case b":":
                return int(text)
            case b"$":
                length = int(text)
                if length < 0:
                    return None
                return (await self._reader.readexactly(length + 2))[:-2].decode()
            case b"*":
                return [await self._answer() for _ in range(int(text))] if text != b"-1" else None
        raise ConnectionError(f"no answer begins with {kind!r}")

    def close(self) -> None:
        self._writer.close()


class StoreClient:
    """`call` dials when needed. All capabilities share it."""

    def __init__(self, cluster: Cluster, host: str, config: Mapping[str, Any]) -> None:
        self._addresses = [cluster.address(node.name, client=host) for node in cluster.topology.nodes]
        digits = "".join(c for c in host if c.isdigit())
        self._at = int(digits) if digits else token(host)
        self._connection: Connection | None = None
        self._timeout_s = int(config["client.timeout.ms"]) / 1000

    async def call(self, *words: str) -> Any:
        """Raises `DefiniteFailure`, `StoreError`, or OSError (which a time-out is, too)."""
        if self._connection is None:
            address = self._addresses[self._at % len(self._addresses)]
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._connection = Connection(*await asyncio.open_connection(address.host, address.port))
            except OSError as error:
                self._at += 1
                raise DefiniteFailure(f"{type(error).__name__}: {error}") from None
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._connection.call(*words)
        except DefiniteFailure:
            # Another coordinator may see more of the replicas.
            await self.close()
            self._at += 1
            raise
        except TimeoutError:
            # Its answer would be taken for that of the next request.
            await self.close()
            self._at += 1
            raise TimeoutError(f"no answer within {self._timeout_s:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            await self.close()
            self._at += 1
            raise ConnectionError(str(error) or type(error).__name__) from None

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class StoreKeyValue(StoreClient):
    async def get(self, key: str) -> Read:
        answer = await self.call("QGET", key)
        if answer is None:
            return Read(None)
        value, *version = answer
        return Read(None if value is None else json.loads(value), version)

    async def put(self, key: str, value: Any) -> Any:
        return await self.call("QPUT", key, json.dumps(value))

    async def delete(self, key: str) -> None:
        await self.call("QDEL", key)

    async def compare_and_set(self, key: str, old: Any, new: Any) -> bool:
        condition = ("ABSENT",) if old is None else ("EXPECT", json.dumps(old))
        return await self.call("QCAS", key, json.dumps(new), *condition) is not None


class StoreCounters(StoreClient):
    async def add(self, key: str, delta: int) -> None:
        await self.call("INCRBY", key, str(delta))

    async def value(self, key: str) -> int:
        return int(await self.call("QCOUNT", key))


class StoreSets(StoreClient):
    async def add(self, key: str, element: str) -> None:
        await self.call("SADD", key, element)

    async def remove(self, key: str, element: str) -> None:
        if not await self.call("SREM", key, element):
            raise DefiniteFailure(f"{element} is no member")

    async def members(self, key: str) -> list[str]:
        return list(await self.call("SMEMBERS", key))


class StoreSiblings(StoreClient):
    async def get(self, key: str) -> Concurrent:
        return _concurrent(await self.call("QSIBLINGS", key))

    async def put(self, key: str, value: Any, context: bytes | None) -> Concurrent | None:
        passed = "" if context is None else context.decode()
        return _concurrent(await self.call("QPUTSIBLING", key, passed, json.dumps(value)))


class StoreRows(StoreClient):
    async def write(self, key: str, columns: Mapping[str, Any]) -> None:
        flat = [part for name, value in columns.items() for part in (name, json.dumps(value))]
        await self.call("QSETROW", key, *flat)

    async def read(self, key: str) -> Mapping[str, Any] | None:
        answer = await self.call("QROW", key)
        if answer is None:
            return None
        return {name: json.loads(value) for name, value in zip(answer[::2], answer[1::2], strict=True)}


class StoreReplicas(StoreClient):
    async def replicas(self, key: str) -> dict[str, Any]:
        """Raises OSError where one of them cannot be asked."""
        try:
            answer = await self.call("QREPLICAS", key)
        except (StoreError, DefiniteFailure) as error:
            raise ConnectionError(str(error)) from None
        return {
            node: None if held is None else json.loads(held)
            for node, held in zip(answer[::2], answer[1::2], strict=True)
        }


CLIENTS: Mapping[str, type[StoreClient]] = {
    "key-value": StoreKeyValue,
    "compare-and-set": StoreKeyValue,
    "counters": StoreCounters,
    "sets": StoreSets,
    "siblings": StoreSiblings,
    "rows": StoreRows,
    "replicas": StoreReplicas,
}


def _concurrent(answer: Sequence[str]) -> Concurrent:
    context, *values = answer
    return Concurrent([json.loads(value) for value in values], context.encode())
