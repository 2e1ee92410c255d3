"""The suite from beginning to end: the corpus first, then every test seed by seed, until the budget is spent.

A seed of each test comes before the second seed of any, so that a short budget still looks at everything. In
simulation the same seed must give the same history: a failure is run twice, and two histories are a bug of chaos
(or of a plug-in), said as such. On real backends a failure is tried again and says how often it came back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import msgspec

from harness import registry, store
from harness.campaign import After, RunLine, run_specs
from harness.coverage import missed, must_reach, never_reached
from harness.gate.corpus import Entry
from harness.gate.suite import Suite, Test, spec_of
from harness.repro import command
from harness.results import Verdict
from harness.spec import Spec

PASSED, FAILED, UNKNOWN = "passed", "failed", "unknown"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is not what its test asks for."""

    run: RunLine
    repro: str
    again: str
    """What came of running it again."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a test. `reason` is a sentence; `found`: anomaly -> runs."""

    name: str
    outcome: str
    reason: str
    asked: int
    runs: int
    found: dict[str, int]
    failures: tuple[Failure, ...]
    seconds: float
    notes: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    test: Test
    seed: int


class Gate:
    def __init__(
        self,
        suite: Suite,
        tests: tuple[Test, ...],
        *,
        root: Path,
        budget_s: float | None,
        after: After | None = None,
        observe: Callable[[int, int, RunLine], None] = lambda done, total, run: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._suite = suite
        self._tests = tests
        self._root = root
        self._after = after
        self._observe = observe
        self._clock = clock
        self.interrupted = False
        self._longest_s = 0.0
        self._deadline = None if budget_s is None else clock() + budget_s

    def replay(self, corpus: list[tuple[str, Entry]]) -> list[Answer]:
        """One answer an entry: it fails where any anomaly is found, known or new."""
        runs: dict[int, RunLine] = {}
        for position, run in self._run(self._in_time(entry.spec for _, entry in corpus)):
            if not run.interrupted:
                runs[position] = run
        return [self._replayed(name, entry, runs.get(at)) for at, (name, entry) in enumerate(corpus)]

    def _replayed(self, name: str, entry: Entry, run: RunLine | None) -> Answer:
        if run is None:
            return Answer(
                name=f"corpus: {name}", outcome=UNKNOWN, reason=f"{NOT_RUN}: {self._why_not()}", asked=1, runs=0,
                found={}, failures=(), seconds=0.0,
            )  # fmt: skip
        bad = run.verdict is Verdict.INVALID
        schedule = f"{run.dir}/{store.SCHEDULE}"
        failure = Failure(run=run, repro=command(entry.spec, schedule_file=schedule), again="")
        return Answer(
            name=f"corpus: {name}",
            outcome=FAILED if bad else PASSED,
            reason=f"back again: {_names(run)}" if bad else f"no {entry.anomaly} any more",
            asked=1,
            runs=1,
            found={f.name: 1 for f in run.anomalies},
            failures=(failure,) if bad else (),
            seconds=run.wall_seconds,
        )

    def run(self) -> list[Answer]:
        """One answer a test, in the order of the suite."""
        order = list(_interleaved(self._tests))
        runs: dict[str, list[RunLine]] = {test.name: [] for test in self._tests}
        specs = self._in_time(spec_of(asked.test, asked.seed) for asked in order)
        for done, (position, run) in enumerate(self._run(specs), start=1):
            if not run.interrupted:
                runs[order[position].test.name].append(run)
            self._observe(done, len(order), run)
        return [self._answer(test, sorted(runs[test.name], key=lambda r: r.seed)) for test in self._tests]

    def _answer(self, test: Test, runs: list[RunLine]) -> Answer:
        found: dict[str, int] = {}
        for run in runs:
            for finding in run.anomalies:
                found[finding.name] = found.get(finding.name, 0) + 1
        surprising = [run for run in runs if {f.name for f in run.anomalies} - set(test.expect)]
        failures = tuple(self._failure(test, run) for run in surprising[:3])
        outcome, reason = _outcome(test, runs, found, surprising)
        if self.interrupted and len(runs) < test.seeds and outcome == PASSED:
            outcome = UNKNOWN
        if any(NOT_DETERMINISTIC in failure.again for failure in failures):
            reason = f"{reason}; a seed did not give the same history twice: this is a bug of chaos or of a plug-in"
        notes: tuple[str, ...] = (
            () if len(runs) == test.seeds else (f"{len(runs)} of {test.seeds} seeds: {self._why_not()}",)
        )
        if outcome == UNKNOWN:
            idle = [run for run in runs if run.verdict is Verdict.UNKNOWN][:1]
            notes += tuple(f"reproduce: {command(spec_of(test, run.seed))}" for run in idle)
        return Answer(
            name=test.name,
            outcome=outcome,
            reason=reason,
            asked=test.seeds,
            runs=len(runs),
            found=found,
            failures=failures,
            seconds=round(sum(run.wall_seconds for run in runs), 2),
            notes=notes,
        )

    def _failure(self, test: Test, run: RunLine) -> Failure:
        spec = spec_of(test, run.seed)
        more = [spec] if test.on == "sim" else [spec] * test.repeat
        seen = [] if self.interrupted else [r for _, r in self._run(self._in_time(more)) if not r.interrupted]
        if not seen:
            again = f"not run again: {self._why_not()}"
        elif test.on == "sim":
            same = seen[0].history_digest == run.history_digest
            again = "the same history when run again" if same else NOT_DETERMINISTIC
        else:
            again = f"came back in {sum(bool(r.anomalies) for r in seen)} of {len(seen)} more runs"
        return Failure(run=run, repro=command(spec), again=again)

    def _run(self, specs: Iterable[Spec]) -> Iterator[tuple[int, RunLine]]:
        for position, run in run_specs(
            specs, root=self._root, cores=self._suite.cores, after=self._after, interrupted=self._interrupt
        ):
            self._longest_s = max(self._longest_s, run.wall_seconds)
            yield position, run

    def _interrupt(self) -> None:
        self.interrupted = True

    def _in_time(self, specs: Iterable[Spec]) -> Iterator[Spec]:
        """As long as one more run, and the one that it may have to wait for, fit into what is left."""
        for spec in specs:
            left = self.left_s()
            if left is not None and left <= 2 * self._longest_s:
                return
            yield spec

    def left_s(self) -> float | None:
        """Of the budget; None: there is none."""
        return None if self._deadline is None else self._deadline - self._clock()

    def _why_not(self) -> str:
        return "interrupted" if self.interrupted else "the budget is spent"


NOT_RUN = "not run"
NOT_DETERMINISTIC = "ANOTHER history when run again"


def sharded(tests: tuple[Test, ...], index: int, count: int) -> tuple[Test, ...]:
    """Whole tests, every `count`-th from `index` (1 is the first): what is expected concerns all seeds of one."""
    return tests[index - 1 :: count]


def _interleaved(tests: tuple[Test, ...]) -> Iterator[Asked]:
    columns = [[Asked(test, test.seed + n) for n in range(test.seeds)] for test in tests]
    for row in zip_longest(*columns):
        yield from (asked for asked in row if asked is not None)


def _outcome(
    test: Test, runs: list[RunLine], found: dict[str, int], surprising: list[RunLine]
) -> tuple[str, str]:
    if not runs:
        return UNKNOWN, NOT_RUN
    if surprising:
        return FAILED, f"{_names(surprising[0])} in {len(surprising)} of {len(runs)} runs"
    missing = [name for name in test.expect if name not in found]
    if missing:
        return FAILED, f"expected and not found in {len(runs)} runs: {', '.join(missing)}"
    unknown = [run for run in runs if run.verdict is Verdict.UNKNOWN]
    if len(unknown) > test.allow_unknown:
        allowed = f" ({test.allow_unknown} allowed)" if test.allow_unknown else ""
        return UNKNOWN, f"{len(unknown)} of {len(runs)} runs prove nothing{allowed}: {unknown[0].reason}"
    system = registry.load("systems", test.system)
    never = missed(runs, must_reach(system, test.nemesis, len(runs), test.situations))
    if never:
        return UNKNOWN, f"{len(runs)} runs {never_reached(system, never)}"
    if test.expect:
        return PASSED, f"found as expected: {', '.join(test.expect)}"
    return PASSED, f"no anomaly in {len(runs)} runs"


def _names(run: RunLine) -> str:
    return ", ".join(finding.name for finding in run.anomalies)
