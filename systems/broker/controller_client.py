"""Requests to the active controller, whichever it is: found by asking all, followed when it changes."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from kio.schema.errors import ErrorCode

from harness.node import NodeEnvironment
from systems.broker.channel import channel_to

_ATTEMPT_MS: Final = 1500
_BACKOFF_S: Final = 0.1

_PARTS = ("topics", "results", "responses")
"""Where a response keeps the answers to the parts of its request."""


class ControllerClient:
    """One channel to each controller. `active` is the id of the one to ask first (None: not known)."""

    def __init__(self, env: NodeEnvironment) -> None:
        nodes = env.topology.with_role("controller")
        self._channels = {n.id: channel_to(env, n.name) for n in nodes}
        self._ids = [n.id for n in nodes]
        self.active: int | None = None

    async def call(self, request: Any, *, timeout_ms: int) -> Any:
        """The active controller's response. A request may be carried out more than once: an attempt whose
        answer was lost is repeated. Raises `TimeoutError` where no active controller answered in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        turn = 0
        while (left_ms := int((deadline - loop.time()) * 1000)) > 0:
            asked = self.active if self.active is not None else self._ids[turn % len(self._ids)]
            turn += 1
            try:
                response = await self._channels[asked].call(request, timeout_ms=min(left_ms, _ATTEMPT_MS))
            except (OSError, TimeoutError):
                response = None
            if response is not None and not _refused(response):
                self.active = asked
                return response
            if self.active == asked:
                self.active = None
            await asyncio.sleep(min(_BACKOFF_S, max(0.0, deadline - loop.time())))
        raise TimeoutError(f"no active controller answered within {timeout_ms} ms")

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()


def _refused(response: Any) -> bool:
    """Whether a controller said that it is not the active one (in the response or in any of its parts)."""
    if getattr(response, "error_code", None) is ErrorCode.not_controller:
        return True
    parts = next((p for name in _PARTS if (p := getattr(response, name, None))), ())
    return any(getattr(part, "error_code", None) is ErrorCode.not_controller for part in parts)
