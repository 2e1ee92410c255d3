"""What a `clock` fault does to the wall clocks of its targets, from its beginning to its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from harness.cluster import Evidence
from harness.damage import Damage, FaultId, Skew, together


class ClockFault:
    """One fault in force. `scatter` draws each target's offset from `rng`."""

    def __init__(
        self,
        damage: Damage,
        position: FaultId,
        targets: Sequence[str],
        params: Mapping[str, Any],
        rng: random.Random,
    ) -> None:
        self._damage = damage
        self._position = position
        self._mode = str(params.get("mode", "jump"))
        self._period_s = float(params.get("period_ms", 100)) / 1000
        offset_ms = float(params.get("offset_ms", 0))
        rate = 1.0
        if self._mode in ("drift", "sawtooth"):
            rate += float(params.get("rate", 0.0))
        self._skews = {target: Skew(offset_ms, rate) for target in targets}
        if self._mode == "scatter":
            self._skews = {target: Skew(round(rng.uniform(-offset_ms, offset_ms), 3)) for target in targets}
        self._moving: asyncio.Task[None] | None = None

    async def begin(self) -> Evidence:
        evidence = together([await self._set(target, skew) for target, skew in self._skews.items()])
        if self._mode == "strobe":
            self._moving = asyncio.ensure_future(self._strobe())
        elif self._mode == "sawtooth":
            self._moving = asyncio.ensure_future(self._step_back())
        return evidence

    async def end(self, targets: Sequence[str]) -> Evidence:
        if self._moving is not None:
            self._moving.cancel()
        return together([await self._damage.unskew(self._position, t) for t in targets])

    async def _set(self, target: str, skew: Skew) -> Evidence:
        return await self._damage.skew(self._position, target, skew)

    async def _strobe(self) -> None:
        away = True
        while True:
            await asyncio.sleep(self._period_s)
            away = not away
            for target, skew in self._skews.items():
                await self._set(target, skew if away else Skew(0.0))

    async def _step_back(self) -> None:
        """As an NTP client that steps: each time the clock has run ahead, it is put back to where it should be."""
        while True:
            await asyncio.sleep(self._period_s)
            for target, skew in self._skews.items():
                await self._set(target, skew)
