"""*Sometimes* assertions of a campaign: what at least one of its runs must have reached, or its silence is nothing.

As in FoundationDB's and Antithesis' tests (Zhou et al. 2021, 4.1): a fault that never bites where it should finds
nothing, and nobody notices. What a nemesis must reach the system itself says (`reached_by`); a user adds more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from harness.campaign import RunLine, Summary
from harness.errors import unknown_name
from harness.results import Verdict

ENOUGH_RUNS = 20
"""So many runs of a nemesis reach what that nemesis is for; a campaign of fewer is asked for nothing by itself."""


@runtime_checkable
class SaysWhatReaches(Protocol):
    """What a system also has that knows which nemeses reach its situations, whatever the workload."""

    @property
    def reached_by(self) -> Mapping[str, Sequence[str]]:
        """Situation -> the nemeses each of which reaches it in any campaign of `ENOUGH_RUNS` runs."""
        ...


@runtime_checkable
class SaysHowToReach(Protocol):
    """What a system also has that knows a test for each of its situations."""

    @property
    def reached_with(self) -> Mapping[str, str]:
        """Situation -> options of `chaos test` that reach it within a few seeds."""
        ...


def must_reach(system: Any, nemesis: str, runs: int, asked: Iterable[str] = ()) -> tuple[str, ...]:
    """The situations that a campaign must have reached. Raises `UserError` for an unknown one."""
    for situation in asked:
        if situation not in system.situations:
            raise unknown_name("situation", situation, system.situations)
    own: list[str] = []
    if runs >= ENOUGH_RUNS and isinstance(system, SaysWhatReaches):
        parts = nemesis.split("+")
        own = [name for name, nemeses in system.reached_by.items() if any(n in parts for n in nemeses)]
    return tuple(dict.fromkeys((*asked, *own)))


def covered(summary: Summary, system: Any, wanted: Iterable[str]) -> Summary:
    """The summary; `unknown`, and why, where it would be valid but never reached what it had to."""
    missing = missed(summary.runs, wanted)
    if summary.verdict is not Verdict.VALID or not missing:
        return summary
    reason = f"{len(summary.runs)} runs {never_reached(system, missing)}"
    return msgspec.structs.replace(summary, verdict=Verdict.UNKNOWN, reason=reason)


def missed(runs: Sequence[RunLine], wanted: Iterable[str]) -> list[str]:
    return unreached((run.situations for run in runs), wanted)


def unreached(counts: Iterable[Mapping[str, int]], wanted: Iterable[str]) -> list[str]:
    """Those of `wanted` that no run counted."""
    reached = {name for counted in counts for name, count in counted.items() if count}
    return [name for name in wanted if name not in reached]


def never_reached(system: Any, situations: Iterable[str]) -> str:
    """What was missing, in words, and which nemesis would reach it."""
    return f"never reached {', '.join(how_to_reach(name, system) for name in situations)}"


def how_to_reach(situation: str, system: Any) -> str:
    """Its name, what it is, and which nemesis or test reaches it."""
    nemeses = system.reached_by.get(situation, ()) if isinstance(system, SaysWhatReaches) else ()
    test = system.reached_with.get(situation) if isinstance(system, SaysHowToReach) else None
    how = f"; --nemesis {' or '.join(nemeses)} reaches it" if nemeses else ""
    if test is not None and not nemeses:
        how = f"; `chaos test {test}` reaches it"
    return f"{situation} ({system.situations[situation]}{how})"
