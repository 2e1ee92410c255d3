"""What a node says of its clock and its disk when it is asked: the proof that a fault has reached it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness import control
from harness.cluster import Evidence
from harness.node import NodeEvent

PATIENCE_S = 5.0
LOOK_S = 0.005
FRESH_S = 1.0
"""A node that has proved itself is believed for so long: a clock may be moved ten times a second."""
CLOCK_TOLERANCE_MS = 5.0
FSYNC_TOLERANCE_MS = 0.001

Told = Mapping[str, Any]
"""The fields of an event `control.REPORTED`."""


class Reporting(Protocol):
    """A node, as far as it can prove something."""

    @property
    def name(self) -> str: ...
    @property
    def standing(self) -> control.Standing: ...
    def hears(self) -> bool:
        """Whether it runs and is not stopped."""
        ...

    async def request(self, request: control.Request) -> None: ...


class Proofs:
    def __init__(self, look: Callable[[], None] = lambda: None) -> None:
        """`look` reads what nodes have said, where nobody does it all the time; their reports go to `heard`."""
        self._look = look
        self._numbers = itertools.count(1)
        self._answers: dict[int, Told] = {}
        self._proved: dict[str, float] = {}

    def heard(self, event: NodeEvent) -> None:
        self._answers[int(event.fields["number"])] = event.fields

    async def full_disk(self, node: Reporting, *, full: bool) -> Evidence:
        """That the disk takes nothing, or has room again."""
        what = f"the disk of {node.name} {'is full' if full else 'has room again'}"
        return await self._prove(node, what, lambda told: told["disk_full"] is full, "disk_full")

    async def slow_disk(self, node: Reporting, *, latency_ms: float, jitter_ms: float) -> Evidence:
        what = f"an fsync on {node.name} takes {latency_ms:g} to {latency_ms + jitter_ms:g} ms longer"
        return await self._prove(
            node, what, lambda told: abs(told["fsync_ms"] - latency_ms) < FSYNC_TOLERANCE_MS, "fsync_ms"
        )

    async def clock(self, node: Reporting, asked: control.Clock, since_ns: int) -> Evidence:
        """That the clock moved as `asked`, at `since_ns` of the harness's monotonic clock."""
        offset_ms, rate = asked.offset_ms, asked.rate

        def holds(told: Told) -> bool:
            if node.standing.clock is not asked:
                # Another fault has moved it meanwhile.
                return True
            drift_ms = (time.monotonic_ns() - since_ns) / 1e6 * (rate - 1)
            low, high = sorted((offset_ms, offset_ms + drift_ms))
            return bool(low - CLOCK_TOLERANCE_MS <= told["clock_off_ms"] <= high + CLOCK_TOLERANCE_MS)

        what = f"the clock of {node.name} is off by {offset_ms:g} ms and runs at {rate:g}"
        return await self._prove(node, what, holds, "clock_off_ms")

    async def _prove(self, node: Reporting, what: str, holds: Callable[[Told], bool], seen: str) -> Evidence:
        """Whether what the node reports `holds`. `what` was done, `seen` is the field that shows it. One that does not
        run now hears of it first of all when it does."""
        if not node.hears():
            return Evidence(True, f"{what}, once it runs")
        if time.monotonic() - self._proved.get(node.name, -FRESH_S) < FRESH_S:
            return Evidence(True, what)
        told = await self._report(node)
        if told is None:
            silent = f"{what}: no answer"
            return Evidence(None, silent) if node.hears() else Evidence(True, f"{what}, once it runs")
        if holds(told):
            self._proved[node.name] = time.monotonic()
            return Evidence(True, f"{what}; it reports {told[seen]}")
        return Evidence(False, f"{what}, but it reports {told[seen]}")

    async def _report(self, node: Reporting) -> Told | None:
        number = next(self._numbers)
        await node.request(control.Report(number))
        deadline = time.monotonic() + PATIENCE_S
        while number not in self._answers and time.monotonic() < deadline and node.hears():
            await asyncio.sleep(LOOK_S)
            self._look()
        return self._answers.pop(number, None)
