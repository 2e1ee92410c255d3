"""From what was asked for to what will run: every name loaded, every default filled in, everything checked.

`resolve` is a pure function of a `Spec` (and the schedule that may stand in it), so that a replay or a
worker process arrives at the same plan.
"""

from __future__ import annotations

import random
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import msgspec

from harness import registry, timeouts
from harness.cluster import Backend, Discerning, HasClientMachines
from harness.clusters.docker.settings import SETTINGS as docker_settings
from harness.clusters.ssh.settings import SETTINGS as ssh_settings
from harness.errors import UserError, unknown_name
from harness.faketime import check_fakeable
from harness.faults import check_schedule
from harness.nemesis import Nemesis
from harness.profiles import with_profile
from harness.schedule import CHANGES, CLIENTS_TAKE, PROMOTE, Schedule, merge
from harness.selectors import reaches_clients
from harness.settings import Setting
from harness.settings import resolve as resolve_settings
from harness.spec import Spec
from harness.system import Administered, NamesSubjects, SpeaksInKinds, System, offered
from harness.topology import NodeInfo, Topology
from harness.workload import Workload

FINALS = ("all", "core", "none")
CLIENT_PREFIX = "client-"


class Plan(msgspec.Struct, frozen=True):
    """A run that is ready to start. `spec` has every default filled in."""

    spec: Spec
    system: Any
    workload: Any
    backend: Any
    topology: Topology
    schedule: Schedule


def chaos_version() -> str:
    try:
        return version("chaos-harness")
    except PackageNotFoundError:
        return "unknown"


def declared_settings(system: System, workload: Workload) -> tuple[Setting, ...]:
    """Every `--set` key of a run: of the system, the workload, the harness and the simulator."""
    declared = [*system.settings, *workload.settings, *timeouts.SETTINGS]
    if find_spec("harness.sim.settings") is not None:
        from harness.sim.settings import SETTINGS

        declared += SETTINGS
    declared += docker_settings
    declared += ssh_settings
    return tuple({s.name: s for s in reversed(declared)}.values())


def resolve(spec: Spec) -> Plan:
    """Raises `UserError` for an unknown name, a setting of the wrong kind, a contradictory configuration, a
    system that lacks what the workload needs, or a backend that lacks a fault kind."""
    _check_numbers(spec)
    system: System = registry.load("systems", spec.system)
    workload: Workload = registry.load("workloads", spec.workload)
    nemeses = _nemeses(spec.nemesis)
    backend = registry.load("backends", spec.backend)
    _check_capabilities(spec, system, workload)
    for checker in workload.checkers:
        registry.load("checkers", checker)
    for bug in spec.bugs:
        if bug not in system.bugs:
            raise unknown_name("bug", bug, system.bugs)
    settings = dict(spec.settings)
    declared = declared_settings(system, workload)
    if any(s.name == "client" for s in declared):
        settings.setdefault("client", spec.client)
    config = dict(resolve_settings(declared, with_profile(spec.profile, settings, spec.system, system)))
    absent = workload.requires - offered(system, config)
    if absent:
        raise UserError(
            f"workload '{spec.workload}' needs {', '.join(sorted(absent))}, which system '{spec.system}' does not "
            "offer in this configuration: `chaos list systems` shows its settings and profiles"
        )
    concurrency = spec.concurrency or workload.default_concurrency
    topology = Topology(
        nodes=_nodes(system, spec.nodes, config),
        clients=tuple(f"{CLIENT_PREFIX}{slot}" for slot in range(concurrency)),
        subjects=_own_subjects(system, config) | workload.subjects(config),
        message_kinds=tuple(sorted(system.message_kinds)) if isinstance(system, SpeaksInKinds) else (),
    )
    system.validate(topology, config)
    workload.validate(topology, config)
    for checker in workload.checkers:
        if validate := getattr(registry.load("checkers", checker), "validate", None):
            validate(config)
    schedule = spec.schedule or _schedule(nemeses, topology, spec, config)
    check_schedule(schedule, topology, system.view(topology))
    needed = schedule.needs.union(*(n.needs for _, n in nemeses)) if spec.schedule is None else schedule.needs
    _check_seams(spec, system, topology, schedule, needed)
    _check_client_faults(spec.backend, backend, topology, schedule)
    check_fakeable(spec.system, system, config, schedule, registry.load("backends", spec.backend))
    # A promotion is asked of the system alone: no backend has to do anything for it.
    _check_faults(spec, system, needed - {PROMOTE})
    resolved = msgspec.structs.replace(
        spec,
        concurrency=concurrency,
        rate=spec.rate or workload.default_rate,
        settings={k: config[k] for k in settings},
        config=config,
        chaos_version=chaos_version(),
    )
    return Plan(resolved, system, workload, backend, topology, schedule)


def _own_subjects(system: System, config: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return dict(system.subjects(config)) if isinstance(system, NamesSubjects) else {}


def _nodes(system: System, count: int, config: dict[str, Any]) -> tuple[NodeInfo, ...]:
    """The cluster's nodes, and as spares those that a cluster of so many more would have."""
    spares = int(config["spares"])
    if not spares:
        return system.nodes(count, config)
    founders = {node.name for node in system.nodes(count, config)}
    return tuple(
        msgspec.structs.replace(node, spare=node.name not in founders)
        for node in system.nodes(count + spares, config)
    )


def _check_seams(
    spec: Spec, system: System, topology: Topology, schedule: Schedule, needed: frozenset[str]
) -> None:
    """What a fault asks of the system itself, not of the backend."""
    changes = needed & CHANGES
    if (changes or spec.settings.get("spares")) and not isinstance(system, Administered):
        able = [n for n in registry.names("systems") if _is(n, Administered)]
        raise UserError(
            f"system '{spec.system}' cannot change its nodes while it runs ({', '.join(sorted(changes)) or 'spares'}); "
            f"systems that can: {', '.join(able) or 'none'}"
        )
    known = topology.message_kinds
    for fault in schedule.faults:
        for kind in fault.params.get("kinds") or ():
            if not known:
                raise UserError(
                    f"system '{spec.system}' does not name the kinds of its messages: leave out 'kinds'"
                )
            if kind not in known:
                raise unknown_name("kind of message", kind, known)


def _check_client_faults(name: str, backend: Backend, topology: Topology, schedule: Schedule) -> None:
    """Clients of most backends are processes of the harness: they have no clock and no disk of their own."""
    done = CLIENTS_TAKE | (backend.client_faults if isinstance(backend, HasClientMachines) else frozenset())
    for position, fault in enumerate(schedule.faults):
        if fault.kind not in done and reaches_clients(fault.selector, topology):
            raise UserError(
                f"fault {position} ({fault.kind} at {fault.at_ms} ms): selector '{fault.selector}' names a client; on "
                f"backend '{name}' clients can be hit by {', '.join(sorted(done))} only: aim it at a node"
            )


def _is(name: str, seam: type) -> bool:
    try:
        return isinstance(registry.load("systems", name), seam)
    except UserError:
        return False


def _check_numbers(spec: Spec) -> None:
    for option, value in (("--nodes", spec.nodes), ("--time-limit", spec.time_limit_ms)):
        if value < 1:
            raise UserError(f"{option}: expected more than 0, got {value}")
    for option, number in (("--concurrency", spec.concurrency), ("--rate", spec.rate)):
        if number < 0:
            raise UserError(f"{option}: expected more than 0, got {number}")
    if spec.final not in FINALS:
        raise unknown_name("--final", spec.final, FINALS)


def _nemeses(names: str) -> list[tuple[str, Nemesis]]:
    parts = [name.strip() for name in names.split("+")]
    if not all(parts):
        raise UserError(f"--nemesis {names}: expected names joined by '+', as in partition+kill")
    return [(name, registry.load("nemeses", name)) for name in parts]


def _schedule(
    nemeses: list[tuple[str, Nemesis]], topology: Topology, spec: Spec, config: dict[str, Any]
) -> Schedule:
    """Each nemesis has its own stream of draws, so that adding one does not change the others."""
    return merge(
        *(
            nemesis.schedule(
                topology, spec.time_limit_ms, random.Random(f"{spec.seed}:nemesis:{name}"), config
            )
            for name, nemesis in nemeses
        )
    )


def _check_capabilities(spec: Spec, system: System, workload: Workload) -> None:
    missing = workload.requires - system.capabilities
    if missing:
        able = [n for n in registry.names("systems") if _offers(n, workload.requires)]
        raise UserError(
            f"workload '{spec.workload}' needs {', '.join(sorted(missing))}, which system '{spec.system}' does "
            f"not offer (it offers {', '.join(sorted(system.capabilities)) or 'nothing'}); "
            f"systems that do: {', '.join(able) or 'none'}"
        )


def _offers(name: str, required: frozenset[str]) -> bool:
    try:
        return bool(required <= registry.load("systems", name).capabilities)
    except UserError:
        return False


def _check_faults(spec: Spec, system: System, needed: frozenset[str]) -> None:
    done = _capabilities(spec.backend, system)
    missing = needed - done
    if missing:
        able = [n for n in registry.names("backends") if _breaks(n, system, needed)]
        whom = (
            f" to system '{spec.system}'"
            if missing & registry.load("backends", spec.backend).capabilities
            else ""
        )
        raise UserError(
            f"backend '{spec.backend}' cannot do {', '.join(sorted(missing))}{whom} "
            f"(it can do {', '.join(sorted(done)) or 'nothing'}); "
            f"backends that can: {', '.join(able) or 'none'}"
        )


def _capabilities(name: str, system: System) -> frozenset[str]:
    """Of a backend with this system. Where the system cannot be run at all is found out elsewhere."""
    backend: Backend = registry.load("backends", name)
    return backend.capabilities_with(system) if isinstance(backend, Discerning) else backend.capabilities


def _breaks(name: str, system: System, needed: frozenset[str]) -> bool:
    try:
        return needed <= _capabilities(name, system)
    except UserError:
        return False
