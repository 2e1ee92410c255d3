"""The search for the smallest case: rounds of passes until nothing gets smaller, or the budget is spent.

Each candidate is a run in simulation. What a fault meets depends on the seed, so a candidate that no longer fails
under its seed is tried under a few more before it is given up: but only once no candidate fails under its own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import msgspec

from harness.campaign import Pool, RunLine
from harness.errors import UserError
from harness.plan import resolve
from harness.shrink.case import Case, Size, operations, shows
from harness.shrink.passes import PASSES, Pass
from harness.spec import Spec

SEEDS = 4
"""A candidate is tried under so many."""


class Budget(msgspec.Struct, frozen=True):
    runs: int = 600
    seconds: float = 300.0


class Shrunk(msgspec.Struct, kw_only=True):
    """What came of it. `exhausted` says that the budget ended the search, not the lack of smaller cases;
    `interrupted`, that Ctrl-C did."""

    case: Case
    before: Size
    anomaly: str
    runs: int
    seconds: float
    exhausted: bool
    interrupted: bool = False

    @property
    def after(self) -> Size:
        return self.case.size


class Search:
    """`tell` is called with each smaller case and the pass that found it."""

    def __init__(
        self,
        pool: Pool,
        anomaly: str,
        budget: Budget,
        tell: Callable[[str, Case, int], None] = lambda name, case, runs: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._anomaly = anomaly
        self._budget = budget
        self._tell = tell
        self._clock = clock
        self._tried: set[bytes] = set()
        self._runs = 0
        self._case: Case

    def run(self, case: Case) -> Shrunk:
        """Raises `UserError` where the case does not show its anomaly in the first place."""
        started = self._clock()
        before = case.size
        itself = _under_seeds(iter([case.spec]), case.spec.seed, SEEDS)
        again = self._first_failing(itself, started, bound=None)
        if again is None and not self._spent(started):
            raise UserError(
                f"the run does not show '{self._anomaly}' again: it was recorded by another version of chaos, or "
                "on a backend that is not the simulator; take its schedule.json and try `chaos test --schedule` "
                "with --runs"
            )
        self._case, interrupted = again or case, False
        try:
            while self._round(1, started) or self._round(SEEDS, started):
                pass
        except KeyboardInterrupt:
            interrupted = True
        return Shrunk(
            case=self._case,
            before=before,
            anomaly=self._anomaly,
            runs=self._runs,
            seconds=round(self._clock() - started, 1),
            exhausted=self._spent(started),
            interrupted=interrupted,
        )

    def _round(self, seeds: int, started: float) -> bool:
        """Every pass as long as it makes the case smaller; whether any did."""
        before = self._case
        for name, shorten in PASSES.items():
            while (smaller := self._once(shorten, self._case, seeds, started)) is not None:
                self._case = smaller
                self._tell(name, smaller, self._runs)
        return self._case is not before

    def _once(self, shorten: Pass, case: Case, seeds: int, started: float) -> Case | None:
        asked = _under_seeds(shorten(case), case.spec.seed, seeds)
        return self._first_failing(filter(self._new, asked), started, bound=case.size)

    def _new(self, spec: Spec) -> bool:
        """Not tried before, and something that can run at all."""
        key = msgspec.json.encode(spec)
        if key in self._tried:
            return False
        self._tried.add(key)
        try:
            resolve(spec)
        except UserError:
            return False
        return True

    def _first_failing(self, asked: Iterator[Spec], started: float, bound: Size | None) -> Case | None:
        """The first in order, whichever run ends first: the answer does not depend on the machine."""
        waiting: deque[tuple[Spec, Future[bytes | None]]] = deque()
        try:
            while True:
                while len(waiting) < self._pool.cores and not self._spent(started):
                    spec = next(asked, None)
                    if spec is None:
                        break
                    waiting.append((spec, self._pool.submit(spec, None)))
                    self._runs += 1
                if not waiting:
                    return None
                spec, future = waiting.popleft()
                run = self._answer(future)
                if run is not None and shows(run, self._anomaly):
                    found = Case(spec, operations(run))
                    if bound is None or found.size < bound:
                        return found
        finally:
            for _, future in waiting:
                future.cancel()

    def _answer(self, future: Future[bytes | None]) -> RunLine | None:
        """None where it could not even begin: a workload may need more than its declaration says."""
        try:
            return self._pool.answer(future)
        except UserError:
            if self._pool.broken:
                raise
            return None

    def _spent(self, started: float) -> bool:
        return self._runs >= self._budget.runs or self._clock() - started >= self._budget.seconds


def _under_seeds(specs: Iterator[Spec], first: int, seeds: int) -> Iterator[Spec]:
    for spec in specs:
        for seed in dict.fromkeys((first, *range(seeds - 1))):
            yield msgspec.structs.replace(spec, seed=seed)
