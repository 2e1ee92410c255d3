"""What a node says of its clock and its disk when it is asked: the proof that a fault has reached it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from harness import control
from harness.cluster import Evidence
from harness.clusters.ssh.host import SshNode
from harness.node import NodeEvent

PATIENCE_S = 5.0
FRESH_S = 1.0
"""A node that has proved itself is believed for so long: a clock may be moved ten times a second."""


class Proofs:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._proved: dict[str, float] = {}

    def heard(self, event: NodeEvent) -> None:
        answer = self._answers.get(int(event.fields["number"]))
        if answer is not None and not answer.done():
            answer.set_result(event.fields)

    async def prove(
        self, node: SshNode, what: str, holds: Callable[[Mapping[str, Any]], bool], seen: str
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

    async def _report(self, node: SshNode) -> Mapping[str, Any] | None:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await node.request(control.Report(number))
            return await asyncio.wait_for(answer, PATIENCE_S)
        except TimeoutError:
            return None
        finally:
            del self._answers[number]
