"""Generators: what each client slot does next.

The runner has one worker a slot. A free worker asks the generator, which answers with an `Invocation`
(do this now), a `Wait` (ask again then) or None (nothing more for this slot). Generators are small
mutable objects with one owner, the runner; all randomness comes from the context.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from harness.workload import Completion, Invocation


class Wait(msgspec.Struct, frozen=True):
    """Nothing before `ms` milliseconds from now."""

    ms: float


class Context(msgspec.Struct, frozen=True):
    """Who asks, and when. `now_ms` counts from the start of the main phase, in the final phase too: what a final generator
    takes over from the main one goes on in the same time. `slots` is the number of workers."""

    slot: int
    process: int
    slots: int
    now_ms: float
    random: random.Random


class Generator(Protocol):
    def next(self, context: Context) -> Invocation | Wait | None: ...
    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        """Told after each operation, in order of completion."""
        ...


class Stateless:
    """Mixin for generators that do not listen."""

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        return None


class Repeat(Stateless):
    """Calls `make(context)` for every operation, for ever."""

    def __init__(self, make: Callable[[Context], Invocation]) -> None:
        self._make = make

    def next(self, context: Context) -> Invocation | Wait | None:
        return self._make(context)


class Once(Stateless):
    """The given invocations, each once, to whichever slots ask first."""

    def __init__(self, invocations: Iterable[Invocation]) -> None:
        self._left = iter(invocations)

    def next(self, context: Context) -> Invocation | Wait | None:
        return next(self._left, None)


class _Wrapper:
    def __init__(self, inner: Generator) -> None:
        self._inner = inner

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        self._inner.completed(context, invocation, completion)


class Rate(_Wrapper):
    """At most `per_second` operations a second over all slots, exponentially spaced (Poisson arrivals)."""

    def __init__(self, inner: Generator, per_second: float) -> None:
        super().__init__(inner)
        self._mean_ms = 1000 / per_second
        self._next_ms = 0.0

    def next(self, context: Context) -> Invocation | Wait | None:
        if context.now_ms < self._next_ms:
            return Wait(self._next_ms - context.now_ms)
        answer = self._inner.next(context)
        if answer is not None and not isinstance(answer, Wait):
            start = max(self._next_ms, context.now_ms - self._mean_ms)
            self._next_ms = start + context.random.expovariate(1) * self._mean_ms
        return answer


class Pause(_Wrapper):
    """Each slot rests a random time with the given mean between its own operations (closed loop)."""

    def __init__(self, inner: Generator, mean_ms: float) -> None:
        super().__init__(inner)
        self._mean_ms = mean_ms
        self._ready_ms: dict[int, float] = {}

    def next(self, context: Context) -> Invocation | Wait | None:
        ready = self._ready_ms.get(context.slot, 0.0)
        if context.now_ms < ready:
            return Wait(ready - context.now_ms)
        return self._inner.next(context)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        self._ready_ms[context.slot] = context.now_ms + context.random.expovariate(1) * self._mean_ms
        super().completed(context, invocation, completion)


class Limit(_Wrapper):
    """At most `count` operations in all."""

    def __init__(self, inner: Generator, count: int) -> None:
        super().__init__(inner)
        self._left = count

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._left <= 0:
            return None
        answer = self._inner.next(context)
        if answer is not None and not isinstance(answer, Wait):
            self._left -= 1
        return answer


class Quiet(_Wrapper):
    """At most `count` operations in all; then nothing happens, but it does not end."""

    REST_MS = 1_000.0

    def __init__(self, inner: Generator, count: int) -> None:
        super().__init__(Limit(inner, count))

    def next(self, context: Context) -> Invocation | Wait | None:
        answer = self._inner.next(context)
        return Wait(self.REST_MS) if answer is None else answer


class TimeLimit(_Wrapper):
    """Nothing from `limit_ms` on."""

    def __init__(self, inner: Generator, limit_ms: float) -> None:
        super().__init__(inner)
        self._limit_ms = limit_ms

    def next(self, context: Context) -> Invocation | Wait | None:
        if context.now_ms >= self._limit_ms:
            return None
        answer = self._inner.next(context)
        if isinstance(answer, Wait):
            return Wait(min(answer.ms, self._limit_ms - context.now_ms))
        return answer


class Mix:
    """Draws one of several generators for each operation, by weight; an exhausted one drops out."""

    def __init__(self, weighted: Sequence[tuple[float, Generator]]) -> None:
        self._weighted = list(weighted)
        self._by_slot: dict[int, Generator] = {}

    def next(self, context: Context) -> Invocation | Wait | None:
        left = list(self._weighted)
        while left:
            [(weight, chosen)] = context.random.choices(left, weights=[w for w, _ in left])
            answer = chosen.next(context)
            if answer is not None:
                self._by_slot[context.slot] = chosen
                return answer
            left.remove((weight, chosen))
        return None

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        chosen = self._by_slot.get(context.slot)
        if chosen is not None:
            chosen.completed(context, invocation, completion)


class BySlot:
    """Each slot has its own generator; slots without one have nothing to do."""

    def __init__(self, generators: Mapping[int, Generator]) -> None:
        self._generators = dict(generators)

    def next(self, context: Context) -> Invocation | Wait | None:
        own = self._generators.get(context.slot)
        return None if own is None else own.next(context)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        own = self._generators.get(context.slot)
        if own is not None:
            own.completed(context, invocation, completion)


class Phases:
    """One generator after the other; a phase begins when every slot has finished the one before."""

    def __init__(self, *phases: Generator, poll_ms: float = 10.0) -> None:
        self._phases = list(phases)
        self._current = 0
        self._idle: set[int] = set()
        self._poll_ms = poll_ms

    def next(self, context: Context) -> Invocation | Wait | None:
        while self._current < len(self._phases):
            answer = self._phases[self._current].next(context)
            if answer is not None:
                self._idle.discard(context.slot)
                return answer
            self._idle.add(context.slot)
            if len(self._idle) < context.slots:
                return Wait(self._poll_ms)
            self._current += 1
            self._idle.clear()
        return None

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if self._current < len(self._phases):
            self._phases[self._current].completed(context, invocation, completion)


class Until(_Wrapper):
    """Repeats until a completion satisfies `done` (per slot), or `limit` operations of that slot."""

    def __init__(
        self, inner: Generator, done: Callable[[Invocation, Completion], bool], *, limit: int = 1_000
    ) -> None:
        super().__init__(inner)
        self._done = done
        self._finished: set[int] = set()
        self._limit = limit
        self._count: dict[int, int] = {}

    def next(self, context: Context) -> Invocation | Wait | None:
        if context.slot in self._finished or self._count.get(context.slot, 0) >= self._limit:
            return None
        answer = self._inner.next(context)
        if answer is not None and not isinstance(answer, Wait):
            self._count[context.slot] = self._count.get(context.slot, 0) + 1
        return answer

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if self._done(invocation, completion):
            self._finished.add(context.slot)
        super().completed(context, invocation, completion)
