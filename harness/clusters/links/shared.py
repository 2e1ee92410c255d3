"""A proxy for all links to one node: each connection goes over the link of whoever dialled it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from harness.clusters.links.connection import Connection, End
from harness.node import Address


class Front(asyncio.Protocol):
    """Waits until it is known whose the connection is, which the kernel can say only once it stands; then an `End`
    takes over."""

    def __init__(self, made: Callable[[Address, Address], Connection]) -> None:
        """`made` gets the dialler's end and ours."""
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclass.
        accepted = cast(asyncio.Transport, transport)
        near = Address(*accepted.get_extra_info("peername")[:2])
        far = Address(*accepted.get_extra_info("sockname")[:2])
        connection = self._made(near, far)
        end = End(connection.out, connection.back, connection)
        accepted.set_protocol(end)
        end.connection_made(accepted)
