"""What a node says of its clock and its disk when it is asked: the proof that a fault has reached it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from harness import control
from harness.cluster import Evidence
from harness.clusters.local.process import LocalNode
from harness.node import NodeEvent

PATIENCE_S = 5.0
LOOK_S = 0.005
FRESH_S = 1.0
"""A node that has proved itself is believed for so long: a clock may be moved ten times a second."""


class Reports:
    def __init__(self, look: Callable[[], None]) -> None:
        """`look` reads what nodes have said, and hands their reports to `heard`."""
        self._look = look
        self._numbers = itertools.count(1)
        self._answers: dict[int, Mapping[str, Any]] = {}
        self._proved: dict[str, float] = {}

    def heard(self, event: NodeEvent) -> None:
        self._answers[int(event.fields["number"])] = event.fields

    async def prove(
        self, node: LocalNode, what: str, holds: Callable[[Mapping[str, Any]], bool], seen: str
    ) -> Evidence:
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

    async def _report(self, node: LocalNode) -> Mapping[str, Any] | None:
        number = next(self._numbers)
        node.ask(control.Report(number))
        deadline = time.monotonic() + PATIENCE_S
        while number not in self._answers and time.monotonic() < deadline:
            if not node.hears():
                break
            await asyncio.sleep(LOOK_S)
            self._look()
        return self._answers.pop(number, None)
