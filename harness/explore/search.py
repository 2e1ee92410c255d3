"""The loop: fresh seeds and mutants of kept ones, side by side; what reached something new is kept."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from harness.campaign import After, Finding, RunLine, run_specs
from harness.coverage import must_reach
from harness.explore.coverage import Point, names, points
from harness.explore.mutations import mutated
from harness.plan import resolve
from harness.results import Verdict
from harness.schedule import Schedule
from harness.spec import Spec

FRESH = 0.3
"""Share of runs from new seeds: mutants alone would stay near where they began."""


class Kept(msgspec.Struct, frozen=True):
    """A run that reached something new."""

    spec: Spec
    news: tuple[str, ...]
    run_number: int


class Step(msgspec.Struct, frozen=True):
    """A point of the growth curve."""

    runs: int
    seconds: float
    points: int
    situations: int


class Exploration(msgspec.Struct, kw_only=True):
    runs: int = 0
    seconds: float = 0.0
    curve: list[Step] = msgspec.field(default_factory=list)
    kept: list[Kept] = msgspec.field(default_factory=list)
    reached: dict[str, int] = msgspec.field(default_factory=dict)
    """Situation -> runs that reached it."""
    never: list[str] = msgspec.field(default_factory=list)
    missed: list[str] = msgspec.field(default_factory=list)
    """Of those the ones that its nemesis is for."""
    found: list[tuple[Finding, str | None]] = msgspec.field(default_factory=list)
    """The first of each anomaly, with its run folder: all other folders are removed."""
    unknown: int = 0
    interrupted: bool = False


class Search:
    def __init__(
        self,
        spec: Spec,
        *,
        budget_s: float,
        runs: int | None,
        root: Path | None,
        after: After | None = None,
        cores: int | None = None,
        observe: Callable[[Exploration], None] = lambda exploration: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._budget_s = budget_s
        self._most = runs
        self._root = root
        self._after = after
        self._cores = cores
        self._observe = observe
        self._clock = clock
        self._random = random.Random(f"{spec.seed}:explore")
        self._pool: list[Spec] = []
        self._seen: set[Point] = set()

    def run(self) -> Exploration:
        """Raises `UserError` for a test that could never run."""
        plan = resolve(self._spec)
        exploration = Exploration()
        asked: dict[int, Spec] = {}
        started = self._clock()

        def specs() -> Iterator[Spec]:
            number = 0
            while self._clock() - started < self._budget_s and (self._most is None or number < self._most):
                asked[number] = self._next(number)
                yield asked[number]
                number += 1

        def interrupt() -> None:
            exploration.interrupted = True

        for number, run in run_specs(
            specs(), root=self._root, cores=self._cores, after=self._after, interrupted=interrupt
        ):
            if run.interrupted:
                _forget(run)
                continue
            exploration.runs += 1
            exploration.seconds = round(self._clock() - started, 2)
            self._look(exploration, asked.pop(number), run)
            self._observe(exploration)
        wanted = must_reach(plan.system, self._spec.nemesis, exploration.runs)
        exploration.missed = [name for name in wanted if not exploration.reached.get(name)]
        exploration.never = [name for name in plan.system.situations if not exploration.reached.get(name)]
        return exploration

    def _next(self, number: int) -> Spec:
        if not self._pool or self._random.random() < FRESH:
            fresh = msgspec.structs.replace(self._spec, seed=self._spec.seed + number)
            return msgspec.structs.replace(fresh, schedule=resolve(fresh).schedule)
        # The later ones reached what was harder to reach.
        chosen = self._pool[-1 - min(int(self._random.expovariate(0.15)), len(self._pool) - 1)]
        other = self._random.choice(self._pool)
        schedule = mutated(
            chosen.schedule or Schedule(), other.schedule or Schedule(), chosen.time_limit_ms, self._random
        )
        seed = chosen.seed if self._random.random() < 0.5 else self._random.randrange(2**31)
        return msgspec.structs.replace(chosen, schedule=schedule, seed=seed)

    def _look(self, exploration: Exploration, spec: Spec, run: RunLine) -> None:
        exploration.unknown += run.verdict is Verdict.UNKNOWN
        for name, count in run.situations.items():
            if count:
                exploration.reached[name] = exploration.reached.get(name, 0) + 1
        known = {finding.name for finding, _ in exploration.found}
        fresh = [(finding, run.dir) for finding in run.anomalies if finding.name not in known]
        exploration.found += fresh
        if not fresh:
            _forget(run)
        news = points(run) - self._seen
        if news:
            self._seen |= news
            self._pool.append(spec)
            exploration.kept.append(Kept(spec, tuple(sorted(names(news))), exploration.runs))
            exploration.curve.append(
                Step(exploration.runs, exploration.seconds, len(self._seen), len(names(self._seen)))
            )


def _forget(run: RunLine) -> None:
    if run.dir is not None:
        shutil.rmtree(run.dir, ignore_errors=True)
