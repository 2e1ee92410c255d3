"""What a checker answers: a verdict, the anomalies with their witnesses, and measures."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec


class Verdict(StrEnum):
    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


class Blame(StrEnum):
    """Whose an anomaly is, as far as the evidence goes."""

    SERVER = "server"
    CLIENT = "client"
    CONFIGURATION = "configuration"
    WORKLOAD = "workload"
    HARNESS = "harness"


class Moment(msgspec.Struct, frozen=True):
    """One line of an anomaly's story. `time` is nanoseconds since the run began."""

    time: int
    text: str
    op: int | None = None
    node: str | None = None


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A named violation (names: docs/reference/anomalies.md) with the operations that prove it.

    `ops` are history indices. `affected` of `out_of` says how much it concerns, for example records
    lost of records acknowledged. `data` is the picture's raw material, by family (offsets per replica,
    edges of a cycle, …) and must be JSON.
    """

    name: str
    summary: str
    ops: tuple[int, ...]
    blame: Blame = Blame.SERVER
    where: str | None = None
    affected: int = 1
    out_of: int | None = None
    faults: tuple[int, ...] = ()
    story: tuple[Moment, ...] = ()
    allowed: bool = False
    """True for what the configuration documents as possible: shown, never a violation."""
    data: dict[str, Any] = msgspec.field(default_factory=dict)


LEFT_OUT = "left_out"
"""Measure of a checker that could not judge all of the input: a line for each part that it had to leave out."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one checker. `reason` is required with `unknown`, and carries the number."""

    checker: str
    verdict: Verdict
    reason: str | None = None
    anomalies: tuple[Anomaly, ...] = ()
    measures: dict[str, Any] = msgspec.field(default_factory=dict)


def overall(results: Iterable[Result], reasons: Iterable[str] = ()) -> tuple[Verdict, str | None]:
    """Invalid if any checker is; else unknown if any is, or if `reasons` names a failure; else valid."""
    all_results = list(results)
    if any(r.verdict is Verdict.INVALID for r in all_results):
        return Verdict.INVALID, None
    why = [*reasons, *(f"{r.checker}: {r.reason}" for r in all_results if r.verdict is Verdict.UNKNOWN)]
    if why:
        return Verdict.UNKNOWN, "; ".join(dict.fromkeys(why))
    if not all_results:
        return Verdict.UNKNOWN, "no checker judged this history"
    return Verdict.VALID, None
