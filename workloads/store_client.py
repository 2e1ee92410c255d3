"""A client process of a store: an operation is a call, and only what certainly had no effect fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from harness.capabilities import DefiniteFailure, Indeterminate
from harness.workload import Completion, Invocation, fail, info

Handler = Callable[[Invocation], Awaitable[Completion]]
READS = frozenset({"read", "get", "final-read", "final-get", "replicas"})


class Closing(Protocol):
    async def close(self) -> None: ...


class StoreClient:
    """`handlers` by the operation's name; `connections` are closed with the client."""

    def __init__(self, handlers: Mapping[str, Handler], *connections: Closing) -> None:
        self._handlers = handlers
        self._connections = connections

    async def open(self) -> None:
        return None

    async def invoke(self, op: Invocation) -> Completion:
        try:
            return await self._handlers[op.f](op)
        except DefiniteFailure as error:
            return fail(str(error))
        except Exception as error:
            if op.f in READS and _says_nothing(error):
                # A read has no effect: its process may go on.
                return fail(f"{type(error).__name__}: {error}")
            if _says_nothing(error):
                return info(f"{type(error).__name__}: {error}")
            raise

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()


def _says_nothing(error: Exception) -> bool:
    """Not a programming error: the network's, or the store's own word."""
    return isinstance(error, OSError | TimeoutError | Indeterminate)
