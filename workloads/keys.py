"""Keys of a workload: a few are in use at a time, hot ones more often, and each only for so many operations, so that
every key's history stays small enough to be searched."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable

from harness.generators import Context, Wait
from harness.workload import Completion, Invocation

RETRY_MS = 100.0
MOST_TRIES = 40


class Keys:
    """`live` keys at a time; a key is replaced after `operations` uses. `used` are all so far, in order."""

    def __init__(self, prefix: str, live: int, operations: int) -> None:
        self._prefix = prefix
        self._operations = operations
        self._left = [operations] * live
        self._names = [f"{prefix}{number}" for number in range(live)]
        self._next = live
        self.used = list(self._names)

    def draw(self, rng: random.Random) -> str:
        """Key i is drawn with weight 1 / (i + 1)."""
        weights = [1 / (at + 1) for at in range(len(self._names))]
        at = rng.choices(range(len(self._names)), weights=weights)[0]
        name = self._names[at]
        self._left[at] -= 1
        if self._left[at] <= 0:
            self._names[at] = f"{self._prefix}{self._next}"
            self._left[at] = self._operations
            self._next += 1
            self.used.append(self._names[at])
        return name


class ReadAll:
    """Every key once, by whichever slot is free; what does not answer is asked again for a while."""

    def __init__(self, f: str, keys: Iterable[str]) -> None:
        self._f = f
        self._left = deque((key, 0) for key in keys)
        self._open: dict[int, tuple[str, int]] = {}

    def next(self, context: Context) -> Invocation | Wait | None:
        if not self._left:
            return Wait(RETRY_MS) if self._open else None
        key, tries = self._left.popleft()
        self._open[context.slot] = (key, tries)
        return Invocation(f=self._f, key=key)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        asked = self._open.pop(context.slot, None)
        if asked is not None and completion.type != "ok" and asked[1] < MOST_TRIES:
            self._left.append((asked[0], asked[1] + 1))
