"""Changes of the cluster: machines are launched and retired, and the system is told who comes and who goes.

They take their time and may fail, under other faults more than ever. What the system refuses has not happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from harness.cluster import Cluster, Evidence
from harness.damage import Damage, together
from harness.system import Administered, Change


class Membership:
    """One change at a time, however many faults ask for one: a ring that two nodes enter at once is another test."""

    def __init__(
        self, cluster: Cluster, damage: Damage, system: Administered | None, *, timeout_s: float
    ) -> None:
        self._cluster = cluster
        self._damage = damage
        self._system = system
        self._timeout_s = timeout_s
        self.one_at_a_time = asyncio.Lock()

    async def join(self, nodes: Sequence[str]) -> tuple[list[str], Evidence]:
        """Who joined, and what is known of all."""
        joined: list[str] = []
        evidence: list[Evidence] = []
        for node in nodes:
            told = await self._launched(node, "join", None)
            evidence.append(told)
            if told.verified:
                joined.append(node)
        return joined, together(evidence)

    async def leave(self, nodes: Sequence[str]) -> tuple[list[str], Evidence]:
        """Who left. A node that could not hand on what it has stays."""
        left: list[str] = []
        evidence: list[Evidence] = []
        for node in nodes:
            if node not in self._cluster.members:
                evidence.append(_gone(node))
                continue
            told = await self._told("leave", node, None)
            if told.verified:
                left.append(node)
                told = together([told, await self._damage.retire(node)])
            evidence.append(told)
        return left, together(evidence)

    async def replace(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], Evidence]:
        """Of (lost, successor): the machine is lost first, whatever becomes of its successor."""
        replaced: list[tuple[str, str]] = []
        evidence: list[Evidence] = []
        for lost, successor in pairs:
            if successor in self._cluster.members:
                # Another fault has let it join meanwhile: nobody must be lost for nothing.
                evidence.append(Evidence(False, f"{successor} is a member already"))
                continue
            if lost not in self._cluster.members:
                evidence.append(_gone(lost))
                continue
            gone = await self._damage.retire(lost)
            told = await self._launched(successor, "replace", lost)
            evidence += [gone, told]
            if told.verified:
                replaced.append((lost, successor))
        return replaced, together(evidence)

    async def promote(self, nodes: Sequence[str]) -> Evidence:
        """Who leads is never taken back: a former primary has nothing to come back to."""
        return together([await self._told("promote", node, None) for node in nodes])

    async def _launched(self, node: str, change: Change, replaced: str | None) -> Evidence:
        launched = await self._damage.launch(node)
        if launched.verified is False:
            return launched
        told = await self._told(change, node, replaced)
        if told.verified is False:
            await self._damage.retire(node)
        return told

    async def _told(self, change: Change, node: str, replaced: str | None) -> Evidence:
        assert self._system is not None, "checked before the run"
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._system.administer(self._cluster, change, node, replaced=replaced)
        except TimeoutError:
            return Evidence(None, f"{change} of {node} was not complete after {self._timeout_s:g} s")


def _gone(node: str) -> Evidence:
    """Another fault was there first: nobody would answer."""
    return Evidence(False, f"{node} is no member any more")
