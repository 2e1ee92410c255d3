"""What is broken right now, and by which faults: damage is undone when the last fault that did it ends.

Two faults may cut the same link or kill the same node. Each holds its own claim; the cluster is touched
when the first claim comes, when the strongest claim changes, and when the last one goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from harness.cluster import Cluster, Evidence, How, Rationed
from harness.shapes import Link

T = TypeVar("T")

FaultId = int
"""Position of a fault in the schedule."""


class Slowness(msgspec.Struct, frozen=True):
    """Of a disk, or of messages of one kind."""

    latency_ms: float
    jitter_ms: float


class Poor(msgspec.Struct, frozen=True):
    """What a fault does to a link; as in `Cluster.degrade`."""

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    bandwidth_kbps: float = 0.0
    datagram_loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0


class Skew(msgspec.Struct, frozen=True):
    """As in `Cluster.skew`."""

    offset_ms: float
    rate: float = 1.0


def together(evidence: Iterable[Evidence]) -> Evidence:
    """True only if all were; False if one was not; details joined without repetition."""
    all_evidence = list(evidence)
    if any(e.verified is False for e in all_evidence):
        verified: bool | None = False
    elif all(e.verified is True for e in all_evidence):
        verified = True
    else:
        verified = None
    return Evidence(verified, "; ".join(dict.fromkeys(e.detail for e in all_evidence if e.detail)))


class Damage:
    """The claims of all active faults on one cluster. The last claim on a link or clock is the one in force;
    latencies add up."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._clients = frozenset(cluster.topology.clients)
        self._down: dict[str, list[FaultId]] = {}
        self._paused: dict[str, list[FaultId]] = {}
        self._cut: dict[Link, dict[FaultId, How]] = {}
        self._poor: dict[Link, dict[FaultId, Poor]] = {}
        self._delayed: dict[tuple[Link, str], dict[FaultId, Slowness]] = {}
        self._full: dict[str, list[FaultId]] = {}
        self._cpu: dict[str, dict[FaultId, float]] = {}
        self._memory: dict[str, dict[FaultId, float]] = {}
        self._stopped: list[str] = []
        self._slow_disks: dict[str, dict[FaultId, Slowness]] = {}
        self._skewed: dict[str, dict[FaultId, Skew]] = {}

    def should_run(self, node: str) -> bool:
        """False while a fault keeps the node down, and of a node that is no member."""
        return node not in self._down and node in self._cluster.members

    async def kill(self, fault: FaultId, node: str) -> Evidence:
        """A client host dies and is replaced at once: nothing holds it down."""
        if node in self._clients:
            await self._cluster.client_host(node).kill()
            return Evidence(True)
        already = node in self._down or node in self._stopped
        self._down.setdefault(node, []).append(fault)
        return Evidence(True, f"{node} was down already") if already else await self._cluster.kill(node)

    async def power_fail(self, fault: FaultId, node: str, *, torn: bool) -> Evidence:
        """Also of a node that is down already: what its killed process had left unsynced goes too."""
        self._down.setdefault(node, []).append(fault)
        return await self._cluster.power_fail(node, torn=torn)

    def claim_down(self, fault: FaultId, node: str) -> None:
        """The node died at this fault's hand by another way (a crash at a step)."""
        self._down.setdefault(node, []).append(fault)

    async def restart(self, fault: FaultId, node: str) -> Evidence:
        if node in self._clients:
            return Evidence(True)
        if not self._release_list(self._down, fault, node):
            return Evidence(True, f"{node} is still held down by another fault")
        self._paused.pop(node, None)
        if self._cluster.running(node):
            return Evidence(True, f"{node} was running already")
        if node not in self._cluster.members:
            return Evidence(True, f"{node} is no member any more")
        return await self._cluster.restart(node)

    async def pause(self, fault: FaultId, node: str) -> Evidence:
        if node in self._down:
            return Evidence(False, f"{node} was down")
        already = node in self._paused
        self._paused.setdefault(node, []).append(fault)
        return Evidence(True, f"{node} was paused already") if already else await self._cluster.pause(node)

    async def resume(self, fault: FaultId, node: str) -> Evidence:
        if fault not in self._paused.get(node, ()):
            return Evidence(True, f"{node} was restarted meanwhile")
        if not self._release_list(self._paused, fault, node):
            return Evidence(True, f"{node} is still held by another fault")
        if node in self._down:
            return Evidence(True, f"{node} was killed meanwhile")
        evidence = await self._cluster.resume(node)
        if node in self._clients and not evidence.verified:
            return Evidence(True, f"{node} was replaced meanwhile")
        return evidence

    async def cut(self, fault: FaultId, link: Link, how: How) -> Evidence:
        claims = self._cut.setdefault(link, {})
        before = _last(claims)
        claims[fault] = how
        return Evidence(True) if before == how else await self._cluster.cut(*link, how=how)

    async def heal(self, fault: FaultId, link: Link) -> Evidence:
        claims = self._cut.get(link, {})
        before = _last(claims)
        claims.pop(fault, None)
        after = _last(claims)
        if after is None:
            self._cut.pop(link, None)
            return await self._cluster.heal(*link)
        return Evidence(True) if after == before else await self._cluster.cut(*link, how=after)

    async def degrade(self, fault: FaultId, link: Link, poor: Poor) -> Evidence:
        self._poor.setdefault(link, {})[fault] = poor
        return await self._apply_quality(link)

    async def mend(self, fault: FaultId, link: Link) -> Evidence:
        self._poor.get(link, {}).pop(fault, None)
        return await self._apply_quality(link)

    async def _apply_quality(self, link: Link) -> Evidence:
        claims = self._poor.get(link, {})
        if not claims:
            self._poor.pop(link, None)
        poor = list(claims.values())
        limits = [p.bandwidth_kbps for p in poor if p.bandwidth_kbps]
        return await self._cluster.degrade(
            *link,
            latency_ms=sum(p.latency_ms for p in poor),
            jitter_ms=sum(p.jitter_ms for p in poor),
            loss=_either([p.loss for p in poor]),
            bandwidth_kbps=min(limits, default=0.0),
            datagram_loss=_either([p.datagram_loss for p in poor]),
            duplicate=_either([p.duplicate for p in poor]),
            reorder=_either([p.reorder for p in poor]),
        )

    async def delay(self, fault: FaultId, link: Link, kind: str, slowness: Slowness) -> Evidence:
        self._delayed.setdefault((link, kind), {})[fault] = slowness
        return await self._apply_delay(link, kind)

    async def hasten(self, fault: FaultId, link: Link, kind: str) -> Evidence:
        self._delayed.get((link, kind), {}).pop(fault, None)
        return await self._apply_delay(link, kind)

    async def _apply_delay(self, link: Link, kind: str) -> Evidence:
        claims = self._delayed.get((link, kind), {})
        if not claims:
            self._delayed.pop((link, kind), None)
        source, target = link
        return await self._cluster.delay_messages(source, target, kind=kind, **_sum(claims.values()))

    async def wipe(self, fault: FaultId, node: str) -> Evidence:
        """Also of a node that is down already."""
        killed = await self.kill(fault, node)
        return together([killed, await self._cluster.wipe(node)])

    async def fill_disk(self, fault: FaultId, node: str) -> Evidence:
        self._full.setdefault(node, []).append(fault)
        return await self._cluster.fill_disk(node, full=True)

    async def empty_disk(self, fault: FaultId, node: str) -> Evidence:
        """There is room again: a node that had stopped for the lack of it is started. The fault stands until the
        cluster says that it is over: who ends before that ended for it."""
        if any(other != fault for other in self._full.get(node, ())):
            self._release_list(self._full, fault, node)
            return Evidence(True, f"the disk of {node} is still kept full by another fault")
        lifted = await self._cluster.fill_disk(node, full=False)
        self._release_list(self._full, fault, node)
        return await self._start_stopped(node, lifted)

    async def _start_stopped(self, node: str, lifted: Evidence) -> Evidence:
        if node in self._stopped and node not in self._full and node not in self._memory:
            self._stopped.remove(node)
            if self.should_run(node) and not self._cluster.running(node):
                return together([lifted, await self._cluster.restart(node)])
        return lifted

    def stopped_by_itself(self, node: str) -> bool:
        """The node's program ended. True where a full disk or the lack of memory is reason enough: it is started
        again when there is room."""
        if node not in self._full and node not in self._memory:
            return False
        if node not in self._stopped:
            self._stopped.append(node)
        return True

    async def limit_cpu(self, fault: FaultId, node: str, cores: float) -> Evidence:
        self._cpu.setdefault(node, {})[fault] = cores
        return await self._rationed.limit_cpu(node, cores=min(self._cpu[node].values()))

    async def unlimit_cpu(self, fault: FaultId, node: str) -> Evidence:
        left = _without(self._cpu, fault, node)
        return await self._rationed.limit_cpu(node, cores=min(left, default=None))

    async def limit_memory(self, fault: FaultId, node: str, more_mb: float) -> Evidence:
        self._memory.setdefault(node, {})[fault] = more_mb
        return await self._rationed.limit_memory(node, more_mb=more_mb)

    async def unlimit_memory(self, fault: FaultId, node: str) -> Evidence:
        """A node that was killed for the lack of it is started. What others hold is left as they set it."""
        if any(other != fault for other in self._memory.get(node, ())):
            _without(self._memory, fault, node)
            return Evidence(True, f"the memory of {node} is still kept short by another fault")
        lifted = await self._rationed.limit_memory(node, more_mb=None)
        _without(self._memory, fault, node)
        return await self._start_stopped(node, lifted)

    @property
    def _rationed(self) -> Rationed:
        """Of a backend that declares `cpu` or `memory`."""
        assert isinstance(self._cluster, Rationed)
        return self._cluster

    async def launch(self, node: str) -> Evidence:
        """A new machine: what faults did to the one before it is no concern of it."""
        self._down.pop(node, None)
        self._paused.pop(node, None)
        return await self._cluster.launch(node)

    async def retire(self, node: str) -> Evidence:
        return await self._cluster.retire(node)

    async def slow_disk(self, fault: FaultId, node: str, slowness: Slowness) -> Evidence:
        self._slow_disks.setdefault(node, {})[fault] = slowness
        return await self._apply_disk(node)

    async def quicken_disk(self, fault: FaultId, node: str) -> Evidence:
        self._slow_disks.get(node, {}).pop(fault, None)
        return await self._apply_disk(node)

    async def _apply_disk(self, node: str) -> Evidence:
        claims = self._slow_disks.get(node, {})
        if not claims:
            self._slow_disks.pop(node, None)
        return await self._cluster.slow_disk(node, **_sum(claims.values()))

    async def skew(self, fault: FaultId, node: str, skew: Skew) -> Evidence:
        claims = self._skewed.setdefault(node, {})
        claims.pop(fault, None)
        claims[fault] = skew
        return await self._cluster.skew(node, offset_ms=skew.offset_ms, rate=skew.rate)

    async def unskew(self, fault: FaultId, node: str) -> Evidence:
        claims = self._skewed.get(node, {})
        claims.pop(fault, None)
        left = _last(claims) or Skew(0.0)
        if not claims:
            self._skewed.pop(node, None)
        return await self._cluster.skew(node, offset_ms=left.offset_ms, rate=left.rate)

    @staticmethod
    def _release_list(claims: dict[str, list[FaultId]], fault: FaultId, node: str) -> bool:
        """Drops the fault's claim; true when it was the last one."""
        left = claims.get(node, [])
        if fault in left:
            left.remove(fault)
        if left:
            return False
        claims.pop(node, None)
        return True


def _last(claims: dict[FaultId, T]) -> T | None:
    return next(reversed(claims.values()), None)


def _without(claims: dict[str, dict[FaultId, T]], fault: FaultId, node: str) -> list[T]:
    """Drops the fault's claim; those that are left."""
    left = claims.get(node, {})
    left.pop(fault, None)
    if not left:
        claims.pop(node, None)
    return list(left.values())


def _sum(claims: Iterable[Slowness]) -> dict[str, float]:
    slow = list(claims)
    return {"latency_ms": sum(c.latency_ms for c in slow), "jitter_ms": sum(c.jitter_ms for c in slow)}


def _either(probabilities: Iterable[float]) -> float:
    """That any of several independent things happens."""
    any_of_them = 0.0
    for probability in probabilities:
        any_of_them += probability - any_of_them * probability
    return any_of_them
