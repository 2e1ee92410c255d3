"""One connection to a Redis server or Sentinel, over redis-py's own, which parses and says hello.

Its client classes send a command again whose connection broke, which adds twice; a bare connection sends once.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from harness.capabilities import DefiniteFailure
from harness.node import Address

REFUSALS = (BusyLoadingError, MasterDownError, OutOfMemoryError, ReadOnlyError)
REFUSED = ("NOREPLICAS", "MISCONF")
"""First words of further errors that mean that the command was not carried out."""


class RedisConnection:
    """Request and answer in turn; dials at the first request."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._connection = Connection(
            host=address.host,
            port=address.port,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )

    async def call(self, *words: str | int) -> Any:
        """Raises `DefiniteFailure` where the command was certainly not carried out, `ConnectionError` where nobody
        can say."""
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise DefiniteFailure(_told(error)) from None
        try:
            await self._connection.send_command(*words)
            return await self._connection.read_response()
        except REFUSALS as error:
            raise DefiniteFailure(_told(error)) from None
        except ResponseError as error:
            if str(error).startswith(REFUSED):
                raise DefiniteFailure(str(error)) from None
            raise ConnectionError(_told(error)) from None
        except (RedisError, OSError) as error:
            raise ConnectionError(_told(error)) from None

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


async def ask(address: Address, timeout_s: float, *words: str | int) -> Any:
    """One request on a connection of its own."""
    connection = RedisConnection(address, timeout_s)
    try:
        return await connection.call(*words)
    finally:
        await connection.close()


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
