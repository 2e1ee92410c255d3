"""The end of a run in a few lines of text. Pure: no colour unless asked for, no terminal consulted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.page import command
from reports.witness import rank

COLOURS = {"valid": "\x1b[32m", "invalid": "\x1b[31m", "unknown": "\x1b[33m"}
RESET = "\x1b[0m"

REMEDIES = (
    ("operations succeeded", "a longer --time-limit or a higher --rate"),
    ("operations overlapped", "a higher --rate, so that the clients feel the faults"),
    ("no operation overlapped", "a higher --rate, so that the clients feel the faults"),
    ("scheduled no fault", "a longer --time-limit, so that faults fit in"),
    ("known to have taken effect", "another seed, or `chaos doctor` if it is the same for every seed"),
    ("had not recovered", "a longer --set recovery.timeout.ms; if it never recovers, that is the finding"),
    ("final phase was not over", "a longer --set final.timeout.ms"),
    ("final read", "a longer recovery, so that the final read reaches the end of every partition"),
    (
        "checker raised",
        "the traceback in result.json; `chaos check` judges the history again once it is fixed",
    ),
    ("died by itself", "the node's log in the run folder"),
    ("could not be verified", "`chaos doctor`, which shows what this machine lacks"),
)
"""Part of a reason for `unknown` -> what would settle it."""


def summary(
    result: Mapping[str, Any], spec: Mapping[str, Any], report: Path | None, *, colour: bool = False
) -> str:
    """What `chaos test` prints last. `result` and `spec` are the objects of `result.json` and `spec.json`;
    `report` None where none was written."""
    verdict = str(result.get("verdict", "unknown"))
    lines = {"valid": _valid, "invalid": _invalid}.get(verdict, _unknown)(result, spec)
    if colour:
        lines[0] = lines[0].replace(verdict, f"{COLOURS.get(verdict, '')}{verdict}{RESET}", 1)
    lines += [f"  {_clean(told)}" for told in _told(result)]
    if result.get("interrupted"):
        lines.append("  interrupted: judged as far as it went")
    if report is not None:
        lines.append(f"  report     {_clean(str(report))}")
    return "\n".join(lines)


def _valid(result: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    return [f"valid: {_effort(result)}; no violation found by {_checkers(result)}"]


def _invalid(result: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    anomalies = [a for a in _anomalies(result) if not a.get("allowed")]
    counts: Counter[str] = Counter()
    for anomaly in anomalies:
        counts[str(anomaly.get("name"))] += int(anomaly.get("affected") or 1)
    worst = sorted(anomalies, key=lambda a: (rank(str(a.get("name"))), str(a.get("name"))))
    names = ", ".join(f"{name} ×{counts[name]}" for name in dict.fromkeys(str(a.get("name")) for a in worst))
    lines = [f"invalid: {names or 'a promise was broken'}, in {_effort(result)}"]
    if worst:
        lines.append(f"  {_clean(str(worst[0].get('summary', '')))}")
    again = result.get("repro") or (command(spec) if spec.get("system") else None)
    return [*lines, f"  reproduce  {_clean(str(again))}"] if again else lines


def _unknown(result: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    reason = str(result.get("reason") or "the run was not judged")
    lines = [f"unknown: {_clean(reason)}", f"  judged     {_effort(result)}"]
    remedy = next((what for part, what in REMEDIES if part in reason), None)
    if remedy:
        lines.append(f"  settled by {remedy}")
    again = str(result.get("repro") or (command(spec) if spec.get("system") else ""))
    return [*lines, f"  reproduce  {_clean(again)}"] if again else lines


def _told(result: Mapping[str, Any]) -> list[str]:
    """What a checker found beside anomalies, where it has a sentence for it."""
    answers = [(r.get("measures") or {}).get("told") for r in result.get("results") or ()]
    return [str(told) for told in answers if told]


def _effort(result: Mapping[str, Any]) -> str:
    """How hard it was tried: operations, faults that bit, situations."""
    ops = result.get("ops") or {}
    total = sum(n for n in ops.values() if isinstance(n, int))
    parts = [f"{total:,} operations ({', '.join(f'{n:,} {name}' for name, n in ops.items())})"]
    faults = (result.get("faults") or {}).get("bitten", 0)
    parts.append(f"{faults} fault{'' if faults == 1 else 's'} that took effect")
    situations = result.get("situations") or {}
    if situations:
        parts.append(f"{sum(1 for n in situations.values() if n)} of {len(situations)} situations reached")
    return ", ".join(parts)


def _checkers(result: Mapping[str, Any]) -> str:
    names = [str(r.get("checker")) for r in result.get("results") or ()]
    return ", ".join(names) or "no checker"


def _anomalies(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [a for r in result.get("results") or () for a in r.get("anomalies") or ()]


def _clean(text: str) -> str:
    """Without control characters: what a history says must not steer the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)
