"""Carries a fault schedule out against a cluster, and writes into the history what was done to whom.

Each fault is resolved when it fires, applied, kept for its duration and undone. How the events look in
the history is said in `harness.schedule`. Whatever fails here is recorded as `info` and reported to the
runner, never swallowed: a fault that may not have bitten counts for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from harness.afflictions import Active, inflict, lift
from harness.aiming import OF_LINKS, Aiming
from harness.clock_faults import ClockFault
from harness.cluster import Cluster, Evidence
from harness.damage import Damage
from harness.errors import UserError, unknown_name
from harness.fault_parameters import check_parameters
from harness.history import HistoryWriter
from harness.membership import Membership
from harness.ops import NEMESIS
from harness.schedule import CHANGES, KINDS, UNDO, Fault, Schedule
from harness.selectors import parse, resolve
from harness.shapes import Link
from harness.system import Administered, ClusterView
from harness.topology import Topology

_WAIT = 0.25
"""The part of its time for which a fault waits for its step."""

Problem = Callable[[str, str], None]
"""Called with (what went wrong, traceback): a reason for `unknown`."""


def check_schedule(schedule: Schedule, topology: Topology, view: ClusterView) -> None:
    """Raises `UserError` for a kind, a parameter or a selector that cannot be carried out."""
    for position, fault in enumerate(schedule.faults):
        try:
            _check(fault, topology, view)
        except UserError as error:
            raise UserError(f"fault {position} ({fault.kind} at {fault.at_ms} ms): {error}") from None


def _check(fault: Fault, topology: Topology, view: ClusterView) -> None:
    if fault.kind not in KINDS:
        raise unknown_name("fault kind", fault.kind, KINDS)
    if fault.at_ms < 0 or (fault.duration_ms is not None and fault.duration_ms < 0):
        raise UserError("at_ms and duration_ms must not be negative")
    check_parameters(fault)
    for selector in (fault.selector, *(str(fault.params[p]) for p in ("to", "by") if fault.params.get(p))):
        resolve(parse(selector, topology), topology, view, random.Random(0))


class Injector:
    """One run's faults. `bitten` tells the positions of those that are known to have taken effect."""

    def __init__(
        self,
        cluster: Cluster,
        view: ClusterView,
        schedule: Schedule,
        writer: HistoryWriter,
        *,
        seed: int,
        problem: Problem,
        administered: Administered | None = None,
        change_timeout_s: float = 60.0,
    ) -> None:
        self._cluster = cluster
        self._topology = cluster.topology
        self._aiming = Aiming(cluster, view)
        self._schedule = schedule
        self._writer = writer
        self._seed = seed
        self._problem = problem
        self._active: dict[int, Active] = {}
        self._lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.damage = Damage(cluster)
        self._membership = Membership(cluster, self.damage, administered, timeout_s=change_timeout_s)
        self.unproven_heals: list[str] = []

    @property
    def active(self) -> tuple[str, ...]:
        """What is broken now, for the live line: `partition leader(orders/0)`."""
        return tuple(f"{a.fault.kind} {a.fault.selector}" for a in self._active.values())

    async def run(self) -> None:
        """Fires every fault at its time, counted from this call; returns when all are over."""
        tasks = [asyncio.ensure_future(self._life(i, f)) for i, f in enumerate(self._schedule.faults)]
        try:
            for task in tasks:
                await task
        finally:
            self._closed = True
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _life(self, position: int, fault: Fault) -> None:
        await asyncio.sleep(fault.at_ms / 1000)
        began = self._loop.time()
        if fault.kind != "crash-at" and fault.params.get("step"):
            await self._reached(str(fault.params["step"]), fault.duration_ms)
        await asyncio.shield(self._fire(position, fault))
        if fault.duration_ms is None:
            return
        await asyncio.sleep(began + fault.duration_ms / 1000 - self._loop.time())
        await asyncio.shield(self._end(position))

    async def _reached(self, step: str, duration_ms: int | None) -> None:
        """Returns when a node reaches the step, or a part of the fault's time is over without; at once where
        the backend does not see steps."""
        if "crash-at" not in self._cluster.capabilities:
            return
        reached: asyncio.Future[None] = self._loop.create_future()

        def now(node: str) -> None:
            if not reached.done():
                reached.set_result(None)

        disarm = [self._cluster.arm(node.name, step, now) for node in self._topology.nodes]
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if duration_ms is None else duration_ms * _WAIT / 1000):
                    await reached
        finally:
            for each in disarm:
                each()

    async def _end(self, position: int) -> None:
        if position in self._active and self._schedule.faults[position].kind in CHANGES:
            await self._undo_change(position)
            return
        async with self._lock:
            await self._undo(position)

    async def heal_all(self, *, only: frozenset[str] | None = None) -> None:
        """Undoes what is still in force. With `only` (the core), what lies outside stays broken for good.

        Changes of the cluster end last, when nothing hinders them any more: those under way are waited for, those
        that were to last for a while are undone.
        """
        self._closed = True
        async with self._lock:
            for position, active in list(self._active.items()):
                if active.fault.kind not in CHANGES:
                    await self._undo(position, only=only)
        for position, active in list(self._active.items()):
            if active.change is not None:
                await active.change
            if only is None and active.fault.duration_ms is not None:
                await self._undo_change(position)
        async with self._membership.one_at_a_time:
            # Whoever was being undone before this began is done, too.
            self._active.clear()

    async def _fire(self, position: int, fault: Fault) -> None:
        """Shielded from the end of the run: a fault is applied and recorded as a whole or not begun."""
        async with self._lock:
            if not self._closed:
                await self._fire_now(position, fault)

    async def _fire_now(self, position: int, fault: Fault) -> None:
        what = _description(position, fault)
        self._record("invoke", fault.kind, what)
        rng = random.Random(f"{self._seed}:fault:{fault.at_ms}:{fault.kind}:{fault.selector}")
        try:
            targets = self._aiming.targets(fault, rng)
            active = Active(position, fault, targets)
            active.links = self._aiming.links(fault, targets, rng)
            if fault.kind == "replace":
                active.replaced = self._aiming.successors(fault, targets, rng)
                active.targets = targets = tuple(lost for lost, _ in active.replaced)
            what |= {"targets": list(targets)}
            if not targets or (fault.kind in OF_LINKS and not active.links):
                self._record("fail", fault.kind, what | {"verified": False}, error="no target")
                return
            self._active[position] = active
            if fault.kind == "clock":
                active.clock = ClockFault(self.damage, position, targets, fault.params, rng)
            if fault.kind in CHANGES:
                active.change = asyncio.ensure_future(self._change(active, what))
                return
            evidence = self._arm(active) if fault.kind == "crash-at" else await inflict(self.damage, active)
        except Exception as error:
            self._record("info", fault.kind, what | {"verified": None}, error=_named(error))
            self._problem(f"fault {position} ({fault.kind} {fault.selector}): {_named(error)}", _trace(error))
            return
        self._record("ok", fault.kind, what | _told(active.links, evidence))

    async def _undo(self, position: int, *, only: frozenset[str] | None = None) -> None:
        active = self._active.pop(position, None)
        if active is None:
            return
        fault = active.fault
        if active.crashed is not None:
            await self._undo_crash(active, only)
            return
        f = UNDO[fault.kind]
        targets = [t for t in active.targets if only is None or t in only]
        links = [link for link in active.links if only is None or set(link) <= only]
        if only is not None and not targets and not links:
            return
        what = {"fault": position, "selector": fault.selector}
        self._record("invoke", f, what)
        what |= {"targets": targets}
        try:
            if fault.kind == "crash-at":
                evidence = self._disarm(active)
            else:
                evidence = await lift(self.damage, active, targets, links)
        except Exception as error:
            self._record("info", f, what | {"verified": None}, error=_named(error))
            self._problem(f"{f} of fault {position} ({fault.selector}): {_named(error)}", _trace(error))
            return
        if evidence.verified is not True:
            self.unproven_heals.append(f"{f} of fault {position} ({fault.selector}): {evidence.detail}")
        self._record("ok", f, what | _told(links, evidence))

    async def _change(self, active: Active, what: dict[str, Any]) -> None:
        """Runs beside everything else, since it may wait for what other faults hinder."""
        fault, membership = active.fault, self._membership
        async with membership.one_at_a_time:
            if self._closed:
                self._active.pop(active.position, None)
                self._record("fail", fault.kind, what | {"verified": False}, error="the run was over first")
                return
            try:
                match fault.kind:
                    case "join":
                        active.changed, evidence = await membership.join(active.targets)
                    case "leave":
                        active.changed, evidence = await membership.leave(active.targets)
                    case "promote":
                        evidence = await membership.promote(active.targets)
                    case _:
                        what |= {"successors": [new for _, new in active.replaced]}
                        active.replaced, evidence = await membership.replace(active.replaced)
            except Exception as error:
                self._record("info", fault.kind, what | {"verified": None}, error=_named(error))
                reason = f"fault {active.position} ({fault.kind} {fault.selector}): {_named(error)}"
                self._problem(reason, _trace(error))
                return
            self._record("ok", fault.kind, what | _told((), evidence))

    async def _undo_change(self, position: int) -> None:
        active = self._active.get(position)
        if active is None:
            return
        if active.change is not None:
            await asyncio.wait([active.change])
        async with self._membership.one_at_a_time:
            if self._active.pop(position, None) is None or not (active.changed or active.replaced):
                return
            fault, membership = active.fault, self._membership
            f = UNDO[fault.kind]
            what: dict[str, Any] = {"fault": position, "selector": fault.selector}
            self._record("invoke", f, what)
            what |= {"targets": active.changed or [lost for lost, _ in active.replaced]}
            try:
                match fault.kind:
                    case "join":
                        _, evidence = await membership.leave(active.changed)
                    case "leave":
                        _, evidence = await membership.join(active.changed)
                    case _:
                        _, evidence = await membership.replace([(new, old) for old, new in active.replaced])
            except Exception as error:
                self._record("info", f, what | {"verified": None}, error=_named(error))
                self._problem(f"{f} of fault {position} ({fault.selector}): {_named(error)}", _trace(error))
                return
            if evidence.verified is None:
                self.unproven_heals.append(f"{f} of fault {position} ({fault.selector}): {evidence.detail}")
            self._record("ok", f, what | _told((), evidence))

    def _arm(self, active: Active) -> Evidence:
        """The first of the targets to reach the step dies there; the others are disarmed."""
        step = str(active.fault.params["step"])
        for target in active.targets:
            active.disarm.append(self._cluster.arm(target, step, lambda n: self._crash(active, n)))
        return Evidence(True, f"armed at {step}")

    def _disarm(self, active: Active) -> Evidence:
        for disarm in active.disarm:
            disarm()
        return Evidence(True, "the step was never reached")

    def _crash(self, active: Active, node: str) -> None:
        if active.crashed is not None or active.position not in self._active:
            return
        active.crashed = node
        self._disarm(active)
        what = _description(active.position, active.fault)
        self._record("invoke", "kill", what)
        self.damage.claim_down(active.position, node)
        self._record("ok", "kill", what | {"targets": [node]} | _told((), Evidence(True)))
        _finish_now(self._cluster.kill(node), self._loop)

    async def _undo_crash(self, active: Active, only: frozenset[str] | None) -> None:
        assert active.crashed is not None
        if only is not None and active.crashed not in only:
            return
        what = {"fault": active.position, "selector": active.fault.selector, "targets": [active.crashed]}
        self._record("invoke", "restart", what)
        evidence = await self.damage.restart(active.position, active.crashed)
        if evidence.verified is not True:
            self.unproven_heals.append(f"restart of {active.crashed}: {evidence.detail}")
        self._record("ok", "restart", what | _told((), evidence))

    def _record(self, type: Any, f: str, value: dict[str, Any], *, error: str | None = None) -> None:
        self._writer.append(NEMESIS, type, f, value=value, error=error)


def _description(position: int, fault: Fault) -> dict[str, Any]:
    """Parameters in the order of their names: a schedule read back from its file writes the same bytes."""
    return {
        "fault": position,
        "selector": fault.selector,
        "params": dict(sorted(fault.params.items())),
        "duration_ms": fault.duration_ms,
    }


def _finish_now(kill: Any, loop: asyncio.AbstractEventLoop) -> None:
    """The crash must come before the node's next instruction: a kill that has nothing to wait for is
    carried out here and now; the rest of one that has goes on in the loop."""
    try:
        kill.send(None)
    except StopIteration:
        return
    loop.create_task(kill)


def _told(links: Sequence[Link], evidence: Evidence) -> dict[str, Any]:
    told: dict[str, Any] = {"verified": evidence.verified}
    if links:
        told["links"] = [list(link) for link in links]
    if evidence.detail:
        told["detail"] = evidence.detail
    return told


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
