"""Whether packets pass from one machine to another: datagrams that the far end remembers.

The two ends are the helpers that backends keep beside their nodes (docker's sandboxes, ssh's agents).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any, Protocol

from harness.cluster import Evidence, How

PORT = 61061
COPIES = 3
"""Of a probe: one lost datagram is no cut link."""
PASS_S = 0.03
"""A datagram that has not arrived by then does not pass."""
ARRIVAL_S = 2.0


class Probes:
    """One end: sends probes, and remembers those that arrive."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    async def listen(self, address: str) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Listener(self._seen), local_addr=(address, PORT)
        )

    async def send(self, target: str, nonce: str) -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(target, PORT)
        )
        for _ in range(COPIES):
            transport.sendto(nonce.encode())
        transport.close()

    def seen(self, nonce: str) -> bool:
        return nonce in self._seen


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, seen: dict[str, None]) -> None:
        self._seen = seen

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._seen[data.decode(errors="replace")] = None


class End(Protocol):
    """A machine with such a helper, which knows `cut`, `heal`, `probe` and `seen`."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    async def ask(self, verb: str, **parameters: Any) -> Any: ...


class Firewalls:
    """Links between such machines, cut by the firewall of whoever receives; the evidence is a probe."""

    def __init__(self) -> None:
        self._nonces = itertools.count()

    async def cut(self, source: End, target: End, how: How) -> Evidence:
        await target.ask("cut", source=source.address, how=how)
        nonce = await self._send(source, target)
        await asyncio.sleep(PASS_S)
        passed = await target.ask("seen", nonce=nonce)
        what = "pass" if passed else "are lost"
        return Evidence(not passed, f"packets from {source.name} to {target.name} {what}")

    async def heal(self, source: End, target: End) -> Evidence:
        await target.ask("heal", source=source.address)
        deadline = time.monotonic() + ARRIVAL_S
        while time.monotonic() < deadline:
            nonce = await self._send(source, target)
            await asyncio.sleep(PASS_S / 10)
            if await target.ask("seen", nonce=nonce):
                return Evidence(True, f"packets from {source.name} to {target.name} pass")
        return Evidence(False, f"packets from {source.name} to {target.name} are still lost")

    async def _send(self, source: End, target: End) -> str:
        nonce = f"{source.name}-{next(self._nonces)}"
        await source.ask("probe", target=target.address, nonce=nonce)
        return nonce
