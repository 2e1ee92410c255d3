"""The beginning of the end of a run: whoever sends sends once more, whoever consumes consumes to the end."""

from __future__ import annotations

from collections.abc import Sequence

from harness.generators import Context, Generator, Wait
from harness.workload import Completion, Invocation

RETRY_MS = 200.0
QUIET_POLLS = 3


class OnceMore:
    """A slot writes until one write succeeds, or `limit_ms` pass: whether it still can is what checker `liveness`
    wants to know. One for each slot."""

    def __init__(self, writes: Generator, *, limit_ms: float) -> None:
        self._writes, self._limit_ms = writes, limit_ms
        self._done = False
        self._started_ms: float | None = None
        self._ready_ms = 0.0

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._started_ms is None:
            self._started_ms = context.now_ms
        if self._done or context.now_ms - self._started_ms > self._limit_ms:
            return None
        if context.now_ms < self._ready_ms:
            return Wait(self._ready_ms - context.now_ms)
        return self._writes.next(context)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        self._writes.completed(context, invocation, completion)
        self._done = self._done or completion.type == "ok"
        self._ready_ms = context.now_ms + RETRY_MS


class PollToTheEnd:
    """The given slots poll until some polls in a row, of one process, brought nothing, or `limit_ms` pass."""

    def __init__(self, slots: Sequence[int], *, limit_ms: float, f: str = "poll") -> None:
        self._quiet = dict.fromkeys(slots, 0)
        self._limit_ms, self._f = limit_ms, f
        self._started_ms: float | None = None
        self._ready_ms: dict[int, float] = {}

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._started_ms is None:
            self._started_ms = context.now_ms
        over = context.now_ms - self._started_ms > self._limit_ms
        if over or self._quiet.get(context.slot, QUIET_POLLS) >= QUIET_POLLS:
            return None
        ready_ms = self._ready_ms.get(context.slot, 0.0)
        return Wait(ready_ms - context.now_ms) if context.now_ms < ready_ms else Invocation(f=self._f)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if invocation.f != self._f or context.slot not in self._quiet:
            return
        if completion.type != "ok":
            self._ready_ms[context.slot] = context.now_ms + RETRY_MS
        nothing = completion.type == "ok" and not completion.value
        self._quiet[context.slot] = self._quiet[context.slot] + 1 if nothing else 0
