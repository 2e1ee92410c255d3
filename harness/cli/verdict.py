"""How a verdict looks at the end: text for people, JSON for programs, a number for the shell."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from harness import registry
from harness.campaign import RunLine, Summary
from harness.cli.group import INTERRUPTED, INVALID, UNKNOWN, VALID
from harness.errors import unknown_name
from harness.execute import Outcome
from harness.results import Verdict

COLOURS = {Verdict.VALID: "green", Verdict.INVALID: "red", Verdict.UNKNOWN: "yellow"}


def exit_code(summary: Summary, expected: Sequence[str] = ()) -> int:
    """With expectations: 0 when every expected anomaly was found and no other one."""
    if any(run.interrupted for run in summary.runs):
        return INTERRUPTED
    if expected:
        found = {finding.name for run in summary.runs for finding in run.anomalies}
        if found == set(expected):
            return VALID
        if not found and summary.verdict is Verdict.UNKNOWN:
            return UNKNOWN
        return INVALID
    return {Verdict.VALID: VALID, Verdict.INVALID: INVALID, Verdict.UNKNOWN: UNKNOWN}[summary.verdict]


def check_expected(names: Sequence[str]) -> None:
    """Raises `UserError` for what no checker can ever find."""
    if names:
        known = registry.anomalies()
        for name in names:
            if name not in known:
                raise unknown_name("anomaly", name, known)


def expectation(summary: Summary, expected: Sequence[str]) -> str | None:
    """One sentence on what was expected and not found, or found and not expected."""
    if not expected:
        return None
    found = {finding.name for run in summary.runs for finding in run.anomalies}
    missing, surplus = sorted(set(expected) - found), sorted(found - set(expected))
    if not missing and not surplus:
        return f"expected and found: {', '.join(sorted(found))}"
    parts = [f"expected but not found: {', '.join(missing)}"] if missing else []
    parts += [f"found but not expected: {', '.join(surplus)}"] if surplus else []
    return "; ".join(parts)


def print_outcome(outcome: Outcome, report: Path | None) -> None:
    """The end of a single run. Whatever goes wrong in the telling, the verdict is told."""
    result = outcome.result
    try:
        from reports.terminal import summary

        told = summary(
            msgspec.to_builtins(result),
            msgspec.to_builtins(outcome.spec),
            report,
            colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        )
        click.echo(told)
    except Exception as error:
        reason = f": {result.reason}" if result.reason else ""
        click.echo(f"{result.verdict.value}{reason}  {outcome.folder or ''}")
        click.echo(f"chaos: the summary failed: {type(error).__name__}: {error}", err=True)


def run_text(run: RunLine) -> str:
    """One run of many, as it comes."""
    verdict = click.style(f"{run.verdict.value:<8}", fg=COLOURS[run.verdict])
    what = ", ".join(f"{f.name} ×{f.count}" for f in run.anomalies) or run.reason or f"{run.ops['ok']} ok"
    return f"seed {run.seed:<6} {verdict} {what}" + (
        f"  {run.dir}" if run.dir and run.verdict is not Verdict.VALID else ""
    )


def campaign_text(summary: Summary) -> str:
    """The end of many runs: verdicts, anomalies, situations reached."""
    verdicts = Counter(run.verdict.value for run in summary.runs)
    findings = Counter(f.name for run in summary.runs for f in run.anomalies)
    situations: Counter[str] = Counter()
    for run in summary.runs:
        situations.update(run.situations)
    lines = [
        f"{len(summary.runs)} runs: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(verdicts.items()))
    ]
    if findings:
        lines.append("anomalies (runs): " + ", ".join(f"{name} {n}" for name, n in sorted(findings.items())))
    lines += _situations(situations)
    if summary.verdict is Verdict.UNKNOWN and not verdicts[Verdict.UNKNOWN.value]:
        lines.append(f"unknown: {summary.reason}")
    return "\n".join(lines)


def _situations(situations: Counter[str]) -> list[str]:
    lines: list[str] = []
    reached = {name: n for name, n in sorted(situations.items()) if n}
    never = [name for name, n in sorted(situations.items()) if not n]
    if reached:
        lines.append("situations reached: " + ", ".join(f"{name} {n}" for name, n in reached.items()))
    if never:
        lines.append("never reached: " + ", ".join(never))
    return lines


def to_json(summary: Summary) -> str:
    runs: list[dict[str, Any]] = []
    for run in summary.runs:
        told = msgspec.to_builtins(run)
        for inner in ("cleanup", "interrupted"):
            told.pop(inner)
        runs.append(told)
    return msgspec.json.encode({"verdict": summary.verdict, "reason": summary.reason, "runs": runs}).decode()


def write_report(folder: Path) -> tuple[Path | None, tuple[str, ...]]:
    """The HTML report, and what failed. A failure is its own line and changes no verdict."""
    try:
        from reports.html import write_report as write

        path: Path = write(folder)
        return path, ()
    except Exception as error:
        return None, (f"the report could not be written: {type(error).__name__}: {error}",)


def report_unless_valid(outcome: Outcome) -> tuple[str, ...]:
    """For many runs: those that are not valid are worth a page at once."""
    if outcome.folder is None or outcome.result.verdict is Verdict.VALID:
        return ()
    return write_report(outcome.folder)[1]
