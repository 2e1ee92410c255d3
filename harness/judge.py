"""The verdict on a history: every checker's answer, merged, and the reasons not to believe in silence.

A run is never `valid` by accident: a checker that raises, a history in which hardly anything succeeded, a
nemesis that did nothing, or anything that went wrong in the harness makes it `unknown`. A proven anomaly
stays `invalid` whatever else went wrong.
"""

from __future__ import annotations

import traceback
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness import registry
from harness.checker import CheckContext, Checker
from harness.errors import UserError
from harness.history import History
from harness.results import Anomaly, Result, Verdict, overall
from harness.runner import Phases, Problem
from harness.schedule import KINDS

FORMAT_VERSION = 1
FEW_OK = 10
"""A history with fewer successful operations says nothing."""
MANY_TRIES = 20
"""A kind of operation tried so often without one success says nothing either."""


class RunResult(msgspec.Struct, kw_only=True):
    """The JSON form is `result.json` of a run folder."""

    verdict: Verdict
    reason: str | None = None
    results: tuple[Result, ...] = ()
    ops: dict[str, int] = msgspec.field(default_factory=dict)
    """`ok`, `fail`, `info`."""
    situations: dict[str, int] = msgspec.field(default_factory=dict)
    steps: dict[str, int] = msgspec.field(default_factory=dict)
    """Named protocol steps (fault points) and how often a node passed them."""
    faults: dict[str, int] = msgspec.field(default_factory=dict)
    """`scheduled`, `fired`, `bitten` (known to have taken effect), `overlapping` (with a client operation)."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    interrupted: bool = False
    promise: str = ""
    repro: str = ""
    seed: int = 0
    phases: Phases | None = None
    sim_seconds: float = 0.0
    wall_seconds: float = 0.0
    history_digest: str | None = None
    trace_digest: str | None = None
    chaos_version: str = ""
    version: int = FORMAT_VERSION

    @property
    def anomalies(self) -> list[Anomaly]:
        """Violations only, without what the configuration allows."""
        return [a for r in self.results for a in r.anomalies if not a.allowed]


class FaultWindow(msgspec.Struct, frozen=True):
    """A fault that is known to have bitten, from its effect to the beginning of its undoing."""

    fault: int
    start_ns: int
    end_ns: int


def judge(
    history: History,
    context: CheckContext,
    checkers: Sequence[str],
    *,
    scheduled: int | None,
    problems: Sequence[Problem] = (),
) -> RunResult:
    """`scheduled` is the number of faults that were to fire; None where no nemesis was on."""
    found = list(problems)
    results = [_run(name, history, context, found) for name in checkers]
    ops = _by(1, history.tally)
    windows = fault_windows(history)
    overlapping = _overlapping(windows, history)
    faults = {
        "scheduled": scheduled or 0,
        "fired": len({_position(op.value) for op in history.faults if op.type == "invoke" and op.f in KINDS}),
        "bitten": len({w.fault for w in windows}),
        "overlapping": overlapping,
    }
    reasons = [p.reason for p in found]
    reasons += _thin(history)
    if scheduled is not None:
        reasons += _toothless(faults)
    verdict, reason = overall(results, reasons)
    return RunResult(
        verdict=verdict,
        reason=reason,
        results=tuple(results),
        ops={outcome: ops.get(outcome, 0) for outcome in ("ok", "fail", "info")},
        faults=faults,
        problems=tuple(found),
        warnings=history.warnings,
    )


def _run(name: str, history: History, context: CheckContext, problems: list[Problem]) -> Result:
    checker: Checker = registry.load("checkers", name)
    try:
        return checker.check(history, context)
    except UserError:
        raise
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        reason = f"the checker raised {type(error).__name__}: {error}"
        problems.append(Problem(f"{name}: {reason}", trace))
        return Result(checker=name, verdict=Verdict.UNKNOWN, reason=reason)


def _by(part: int, tally: Counter[tuple[str, str]]) -> Counter[str]:
    """The tally by kind (0) or by outcome (1) alone."""
    found: Counter[str] = Counter()
    for names, count in tally.items():
        found[names[part]] += count
    return found


def _thin(history: History) -> list[str]:
    """Too little succeeded for silence to mean anything."""
    tried = _by(0, history.tally)
    succeeded = Counter({f: count for (f, outcome), count in history.tally.items() if outcome == "ok"})
    total = sum(succeeded.values())
    if total < FEW_OK:
        return [f"only {total} of {sum(tried.values())} operations succeeded"]
    return [
        f"none of {count} '{f}' operations succeeded"
        for f, count in sorted(tried.items())
        if count >= MANY_TRIES and not succeeded[f]
    ]


def _toothless(faults: Mapping[str, int]) -> list[str]:
    """A nemesis was on, and nothing shows that the clients felt it."""
    if not faults["scheduled"]:
        return ["the nemesis scheduled no fault: give it a longer --time-limit"]
    if not faults["bitten"]:
        return [f"none of {faults['scheduled']} scheduled faults is known to have taken effect"]
    if not faults["overlapping"]:
        return [f"no operation overlapped any of {faults['bitten']} faults"]
    return []


def fault_windows(history: History) -> list[FaultWindow]:
    """Every fault that is proven (`verified`), with the time it was in force."""
    windows: list[FaultWindow] = []
    open_since: dict[tuple[int, str], int] = {}
    for op in history.faults:
        if op.f == "crash-at":
            continue
        position = _position(op.value)
        if op.f in KINDS:
            if op.type == "ok" and op.value.get("verified") is True and op.value.get("targets"):
                open_since[(position, op.f)] = op.time
        elif op.type == "invoke":
            for key in [k for k in open_since if k[0] == position]:
                windows.append(FaultWindow(position, open_since.pop(key), op.time))
    windows += [FaultWindow(key[0], start, history.end_ns) for key, start in open_since.items()]
    return windows


def _position(value: Any) -> int:
    found = value.get("fault") if isinstance(value, dict) else None
    return found if isinstance(found, int) else -1


def _overlapping(windows: Sequence[FaultWindow], history: History) -> int:
    """How many faults overlap at least one client operation: one starts in the window, or is open when it begins."""
    if not windows:
        return 0
    starts = [op.start for op in history.operations]
    latest_end: list[int] = []
    for op in history.operations:
        end = op.completion.time if op.completion is not None else history.end_ns
        latest_end.append(max(end, latest_end[-1]) if latest_end else end)
    felt: set[int] = set()
    for window in windows:
        before = bisect_left(starts, window.end_ns)
        if before and latest_end[before - 1] >= window.start_ns:
            felt.add(window.fault)
    return len(felt)
