"""What each kind of fault does to a cluster, and how it is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from harness.clock_faults import ClockFault
from harness.cluster import Evidence
from harness.damage import Damage, Poor, Slowness, together
from harness.schedule import Fault
from harness.shapes import Link


class Active:
    """A fault in force: whom it hit, and what its undoing must know."""

    def __init__(self, position: int, fault: Fault, targets: tuple[str, ...]) -> None:
        self.position = position
        self.fault = fault
        self.targets = targets
        self.links: tuple[Link, ...] = ()
        self.crashed: str | None = None
        self.disarm: list[Callable[[], None]] = []
        self.clock: ClockFault | None = None
        self.change: asyncio.Task[None] | None = None
        self.changed: list[str] = []
        """Who joined or left."""
        self.replaced: list[tuple[str, str]] = []
        """Lost, successor."""


async def inflict(damage: Damage, active: Active) -> Evidence:
    """Everything but `crash-at`, which waits, and changes of the cluster."""
    fault, position, params = active.fault, active.position, active.fault.params
    match fault.kind:
        case "partition":
            how = params.get("how", "drop")
            return together([await damage.cut(position, link, how) for link in active.links])
        case "kill":
            return together([await damage.kill(position, t) for t in active.targets])
        case "pause":
            return together([await damage.pause(position, t) for t in active.targets])
        case "power":
            torn = bool(params.get("torn", False))
            return together([await damage.power_fail(position, t, torn=torn) for t in active.targets])
        case "wipe":
            return together([await damage.wipe(position, t) for t in active.targets])
        case "disk-full":
            return together([await damage.fill_disk(position, t) for t in active.targets])
        case "slow-disk":
            slow = _slowness(params)
            return together([await damage.slow_disk(position, t, slow) for t in active.targets])
        case "cpu":
            cores = float(params.get("cores", 0.1))
            return together([await damage.limit_cpu(position, t, cores) for t in active.targets])
        case "memory":
            more_mb = float(params.get("more_mb", 0))
            return together([await damage.limit_memory(position, t, more_mb) for t in active.targets])
        case "slow" if params.get("kinds"):
            each = [(link, kind) for link in active.links for kind in params["kinds"]]
            slow = _slowness(params)
            return together([await damage.delay(position, link, kind, slow) for link, kind in each])
        case "slow" | "flaky" | "datagrams":
            poor = _poor(fault)
            return together([await damage.degrade(position, link, poor) for link in active.links])
        case "clock":
            assert active.clock is not None
            return await active.clock.begin()
    raise AssertionError(fault.kind)


async def lift(damage: Damage, active: Active, targets: Sequence[str], links: Sequence[Link]) -> Evidence:
    """Of a part of its targets and links, where only a core is healed."""
    position = active.position
    match active.fault.kind:
        case "partition":
            return together([await damage.heal(position, link) for link in links])
        case "kill" | "power" | "wipe":
            return together([await damage.restart(position, t) for t in targets])
        case "pause":
            return together([await damage.resume(position, t) for t in targets])
        case "disk-full":
            return together([await damage.empty_disk(position, t) for t in targets])
        case "slow-disk":
            return together([await damage.quicken_disk(position, t) for t in targets])
        case "cpu":
            return together([await damage.unlimit_cpu(position, t) for t in targets])
        case "memory":
            return together([await damage.unlimit_memory(position, t) for t in targets])
        case "slow" if kinds := active.fault.params.get("kinds"):
            each = [(link, kind) for link in links for kind in kinds]
            return together([await damage.hasten(position, link, kind) for link, kind in each])
        case "slow" | "flaky" | "datagrams":
            return together([await damage.mend(position, link) for link in links])
        case "clock":
            assert active.clock is not None
            return await active.clock.end(targets)
    raise AssertionError(active.fault.kind)


def _slowness(params: dict[str, Any]) -> Slowness:
    return Slowness(float(params.get("latency_ms", 100)), float(params.get("jitter_ms", 0)))


def _poor(fault: Fault) -> Poor:
    """What a fault of links says of them; of `datagrams`, the loss is theirs alone."""
    params = fault.params
    match fault.kind:
        case "slow":
            return Poor(float(params.get("latency_ms", 100)), float(params.get("jitter_ms", 0)))
        case "flaky":
            return Poor(
                loss=float(params.get("loss", 0)), bandwidth_kbps=float(params.get("bandwidth_kbps", 0))
            )
        case _:
            return Poor(
                datagram_loss=float(params.get("loss", 0)),
                duplicate=float(params.get("duplicate", 0)),
                reorder=float(params.get("reorder", 0)),
            )
