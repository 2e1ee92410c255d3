"""A run as the page shows it: everything in words and tables, plus the data that its panels are drawn from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness import repro
from harness.errors import UserError
from harness.node import NodeEvent
from harness.registry import Group, load
from harness.spec import Spec
from reports.faults import Band, bands
from reports.folder import Run
from reports.lag import Lag, lag
from reports.lanes import Lane, lanes
from reports.operations import OUTCOMES, Columns, as_json, columns, shorten
from reports.ownership import Ownership, ownership
from reports.skew import Skew, skew
from reports.witness import Group as Family
from reports.witness import evidence, groups

VERDICTS = ("valid", "invalid", "unknown")
MOST_MEASURES = 300
PHASES = (
    ("main_ns", "faults and load"),
    ("main_end_ns", "healing"),
    ("healed_ns", "recovery"),
    ("recovered_ns", ""),
    ("final_ns", "reading back"),
)
"""Field of `result.json`'s phases -> what begins then."""


class Data(msgspec.Struct, frozen=True):
    """Embedded as JSON. Times are microseconds since the run began."""

    end: int
    ops: Columns
    bands: list[Band]
    lanes: list[Lane]
    phases: list[tuple[int, str]]
    slots: int
    """Client processes at a time; 0 where it is not known."""
    anomalies: list[tuple[int, list[int]]]
    """Number on the page -> history indices of its operations."""


class Named(msgspec.Struct, frozen=True):
    name: str
    value: str
    doc: str = ""


class Situation(msgspec.Struct, frozen=True):
    name: str
    count: int
    doc: str


class Problem(msgspec.Struct, frozen=True):
    reason: str
    traceback: str


class Page(msgspec.Struct, frozen=True):
    title: str
    verdict: str
    headline: str
    explanation: str
    missing: list[str]
    promise: str
    command: str
    facts: list[Named]
    ops: dict[str, int]
    violations: list[Family]
    allowed: list[Family]
    problems: list[Problem]
    reached: list[Situation]
    not_reached: list[Situation]
    measures: list[tuple[str, list[Named]]]
    changed: list[Named]
    defaults: list[Named]
    faults: list[Band]
    skew: Skew | None
    lag: Lag | None
    ownership: Ownership | None
    data: Data


def page(run: Run) -> Page:
    result, spec = run.result, run.spec
    operations = run.history.operations
    end = max([run.history.end_ns, *(e.time for e in run.events[-1:])], default=0) // 1_000
    shown = bands(run.history.faults, end)
    anomalies = _anomalies(result)
    found = groups(anomalies, evidence(operations if anomalies else (), shown), _definitions(result))
    violations = [g for g in found if not g.allowed]
    ops = _counts(result, [o.outcome for o in operations])
    verdict = str(result.get("verdict", "unknown"))
    verdict = verdict if verdict in VERDICTS else "unknown"
    missing = [*run.missing, *(f"{w}" for w in result.get("warnings") or () if w not in run.missing)]
    if result.get("interrupted"):
        missing.insert(0, "the run was interrupted: it is judged as far as it went")
    situations = _situations(result, str(spec.get("system", "")))
    changed, defaults = _configuration(spec)
    return Page(
        title=" · ".join(str(spec[k]) for k in ("system", "workload", "nemesis") if spec.get(k)) or run.name,
        verdict=verdict,
        headline=headline(verdict, violations, ops, _fault_count(result, shown)),
        explanation=_explanation(verdict, violations, result),
        missing=missing,
        promise=str(result.get("promise") or ""),
        command=str(result.get("repro") or "") or command(spec),
        facts=_facts(run, ops, end),
        ops=ops,
        violations=violations,
        allowed=[g for g in found if g.allowed],
        problems=[
            Problem(str(p.get("reason", "")), str(p.get("traceback", "")))
            for p in result.get("problems") or ()
            if isinstance(p, Mapping)
        ],
        reached=[s for s in situations if s.count],
        not_reached=[s for s in situations if not s.count],
        measures=_measures(result),
        changed=changed,
        defaults=defaults,
        faults=shown,
        skew=skew(_results(result)),
        lag=lag(operations, shown, end),
        ownership=ownership(_results(result), end),
        data=Data(
            end=end,
            ops=columns(operations),
            bands=shown,
            lanes=lanes([e for e in run.events if not _taken_down(e, run)], shown, _nodes(run), end),
            phases=_phases(result),
            slots=_whole(spec.get("concurrency")),
            anomalies=[(w.number, [o.index for o in w.ops]) for g in found for w in g.witnesses],
        ),
    )


def headline(verdict: str, violations: Sequence[Family], ops: Mapping[str, int], faults: int) -> str:
    """The verdict in one sentence."""
    total = sum(ops.values())
    under = f"{total:,} operations under {faults} fault{'' if faults == 1 else 's'}"
    match verdict:
        case "valid":
            return f"No violation in {under}."
        case "invalid":
            names = ", ".join(f"{g.name} × {g.affected:,}" if g.affected > 1 else g.name for g in violations)
            return f"{names or 'A promise was broken'}, in {under}."
        case _:
            return f"No judgement on {under}."


def _explanation(verdict: str, violations: Sequence[Family], result: Mapping[str, Any]) -> str:
    if verdict == "invalid" and violations and violations[0].witnesses:
        return violations[0].witnesses[0].summary
    reason = result.get("reason")
    if reason:
        return str(reason)
    return "The run was never judged." if not result else ""


def command(spec: Mapping[str, Any]) -> str:
    """The line that runs it again; empty without a readable spec."""
    try:
        return repro.command(msgspec.convert(spec, Spec)) if spec else ""
    except msgspec.ValidationError:
        return ""


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _counts(result: Mapping[str, Any], outcomes: Sequence[str]) -> dict[str, int]:
    given = result.get("ops")
    if isinstance(given, Mapping) and given:
        return {outcome: _whole(given.get(outcome)) for outcome in OUTCOMES}
    return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def _fault_count(result: Mapping[str, Any], shown: Sequence[Band]) -> int:
    given = result.get("faults")
    if isinstance(given, Mapping) and "bitten" in given:
        return _whole(given["bitten"])
    return len({b.fault for b in shown if b.outcome == "ok" and b.targets})


def _anomalies(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [a for r in _results(result) for a in r.get("anomalies") or () if isinstance(a, Mapping)]


def _results(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [r for r in result.get("results") or () if isinstance(r, Mapping)]


def _definitions(result: Mapping[str, Any]) -> dict[str, str]:
    """Of each name as the checkers that found it define it: one name may mean something else to each."""
    found: dict[str, dict[str, None]] = {}
    for answer in _results(result):
        checker = _plug_in("checkers", str(answer.get("checker", "")))
        named = {str(a.get("name")) for a in answer.get("anomalies") or () if isinstance(a, Mapping)}
        for name in sorted(named):
            if checker is not None and name in checker.anomalies:
                found.setdefault(name, {})[checker.anomalies[name]] = None
    return {name: "; or ".join(definitions) for name, definitions in found.items()}


def _situations(result: Mapping[str, Any], system: str) -> list[Situation]:
    given = result.get("situations")
    counts = {str(k): _whole(v) for k, v in given.items()} if isinstance(given, Mapping) else {}
    known = _plug_in("systems", system) if counts else None
    docs: Mapping[str, str] = known.situations if known is not None else {}
    return [Situation(name, count, docs.get(name, "")) for name, count in counts.items()]


def _plug_in(group: Group, name: str) -> Any:
    """What explains the names of a run. None where it is not installed here: the page does without."""
    try:
        return load(group, name)
    except UserError:
        return None


def _facts(run: Run, ops: Mapping[str, int], end: int) -> list[Named]:
    spec, result = run.spec, run.result
    facts = [
        Named("Operations", f"{ops['ok']:,} ok, {ops['fail']:,} failed, {ops['info']:,} unknown"),
        Named("Length", f"{end / 1e6:.1f} s" + (" simulated" if spec.get("backend") == "sim" else "")),
    ]
    if result.get("wall_seconds"):
        facts.append(Named("Took", f"{float(result['wall_seconds']):.1f} s"))
    if spec:
        facts += [
            Named("Seed", str(spec.get("seed", "?"))),
            Named("Cluster", f"{spec.get('nodes', '?')} nodes on {spec.get('backend', '?')}"),
            Named("Client", str(spec.get("client", "?"))),
        ]
    version = result.get("chaos_version") or spec.get("chaos_version")
    if version:
        facts.append(Named("chaos", str(version)))
    facts.append(Named("Run", run.name))
    return facts


def _measures(result: Mapping[str, Any]) -> list[tuple[str, list[Named]]]:
    made: list[tuple[str, list[Named]]] = []
    for answer in _results(result):
        rows = list(_flat(answer.get("measures") or {}, ""))[:MOST_MEASURES]
        verdict = str(answer.get("verdict", ""))
        reason = f": {answer['reason']}" if answer.get("reason") else ""
        made.append((str(answer.get("checker", "?")), [Named("verdict", f"{verdict}{reason}"), *rows]))
    for name in ("faults", "steps"):
        given = result.get(name)
        if isinstance(given, Mapping) and given:
            title = "faults" if name == "faults" else "protocol steps passed"
            made.append((title, [Named(str(k), _number(v)) for k, v in given.items()]))
    return made


def _flat(value: Any, name: str) -> list[Named]:
    if isinstance(value, Mapping):
        return [row for k, v in value.items() for row in _flat(v, f"{name}.{k}" if name else str(k))]
    return [Named(name, _number(value))]


def _number(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return _plain(value) if value is not None else "none"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return shorten(value if isinstance(value, str) else as_json(value), 200)


def _configuration(spec: Mapping[str, Any]) -> tuple[list[Named], list[Named]]:
    config, given = spec.get("config"), spec.get("settings")
    config = config if isinstance(config, dict) else {}
    given = given if isinstance(given, dict) else {}
    changed = [Named(str(k), _plain(config.get(k, v))) for k, v in sorted(given.items())]
    changed += [Named("bug", str(b)) for b in spec.get("bugs") or ()]
    rest = [Named(str(k), _plain(v)) for k, v in sorted(config.items()) if k not in given]
    run = ("concurrency", "rate", "time_limit_ms", "final")
    rest += [Named(k, _plain(spec[k])) for k in run if k in spec]
    return changed, rest


def _phases(result: Mapping[str, Any]) -> list[tuple[int, str]]:
    given = result.get("phases")
    if not isinstance(given, Mapping):
        return []
    return [(given[k] // 1_000, name) for k, name in PHASES if isinstance(given.get(k), int)]


def _taken_down(event: NodeEvent, run: Run) -> bool:
    """The end of a node that was ended with the run is no part of it."""
    return event.kind == "exited" and event.time > run.history.end_ns and "error" not in event.fields


def _nodes(run: Run) -> list[str]:
    """Every server node that says anything or is hit by something, sorted: `b1 b2 b3 c1 …`."""
    return sorted({e.node for e in run.events})
