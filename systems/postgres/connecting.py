"""Connections to one of several servers, by what it must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import asyncpg

USER, DATABASE = "chaos", "postgres"
CONNECT_S = 2.0
Wanted = Literal["any", "primary", "standby"]


async def connect(places: Sequence[tuple[str, int]], wanted: Wanted = "any") -> Any:
    """To the first that is what is wanted. Raises what the last of them raised: `OSError` (a `TimeoutError` is one),
    or one of asyncpg's own."""
    failure: Exception = ConnectionError("there is no server")
    for host, port in places:
        try:
            return await asyncpg.connect(
                host=host,
                port=port,
                user=USER,
                database=DATABASE,
                ssl=False,
                timeout=CONNECT_S,
                target_session_attrs=wanted,
            )
        except asyncpg.TargetServerAttributeNotMatched:
            failure = ConnectionError(f"{host}:{port} is no {wanted}")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            failure = error
    raise failure
