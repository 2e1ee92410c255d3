"""Any model: depth-first search for a legal order (Wing and Gong 1993; Lowe 2017), remembering where it has been.

What it remembers is a state with the set of operations done: those before the first one missing need no bit, so
that the memory for an entry grows with the number of open operations and not with the length of the history. An
operation that only looks is done as soon as it can be, with no other choice tried. `info` operations that are the
same but for their beginning are interchangeable: the earliest goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from checkers.linearizable.models import ILLEGAL, Call, Model

MOST_STATES: Final = 1_000_000
MOST_ENDS: Final = 8


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    legal: bool | None
    """None: the budget was spent."""
    order: tuple[Call, ...] = ()
    """A legal order, where there is one, without `info` calls that no order needs."""
    states: int
    deepest: int = 0
    """The most certain operations that any legal order could take in."""
    ends: tuple[Any, ...] = ()
    """States in which those orders stop."""


class _At(NamedTuple):
    """Done are the first `base` certain calls, those in `bits` (relative to base), and of every group of `info` calls
    as many as `taken` says."""

    base: int
    bits: int
    taken: tuple[int, ...]
    state: Any


def search(
    calls: Sequence[Call],
    model: Model,
    *,
    initial: Any = None,
    states: int = MOST_STATES,
    out_of_time: Callable[[], bool] = lambda: False,
) -> Answer:
    """`states` bounds the number of distinct configurations; `out_of_time` is asked now and then."""
    return _Search(calls, model, initial).run(states, out_of_time)


class _Search:
    def __init__(self, calls: Sequence[Call], model: Model, initial: Any) -> None:
        idle = model.idle(calls)
        self.certain = sorted((c for c in calls if c.certain), key=lambda c: c.start)
        groups: dict[tuple[str, Any, Any], list[Call]] = {}
        for call in sorted((c for c in calls if not c.certain), key=lambda c: c.start):
            if call.f not in model.observers and not idle(call):
                who = call.process if model.name == "lock" else None
                groups.setdefault((call.f, call.asked, who), []).append(call)
        self.groups = list(groups.values())
        self.model = model
        self.initial = model.initial if initial is None else initial
        self.seen: set[_At] = set()
        self.deepest = -1
        self.ends: list[Any] = []

    def run(self, budget: int, out_of_time: Callable[[], bool]) -> Answer:
        at = _At(0, 0, (0,) * len(self.groups), self.initial)
        path: list[tuple[_At, Iterator[tuple[Call, _At]]]] = [(at, self._next(at))]
        done: list[Call] = []
        self.seen.add(at)
        while path:
            at, choices = path[-1]
            self._note(at)
            if at.base == len(self.certain):
                return self._answer(True, done)
            found = next(((call, to) for call, to in choices if to not in self.seen), None)
            if found is None:
                path.pop()
                if done:
                    done.pop()
                continue
            call, to = found
            self.seen.add(to)
            if len(self.seen) > budget or (len(self.seen) % 4096 == 0 and out_of_time()):
                return self._answer(None, [])
            done.append(call)
            path.append((to, self._next(to)))
        return self._answer(False, [])

    def _answer(self, legal: bool | None, order: list[Call]) -> Answer:
        return Answer(
            legal=legal,
            order=tuple(order),
            states=len(self.seen),
            deepest=self.deepest,
            ends=tuple(self.ends),
        )

    def _note(self, at: _At) -> None:
        depth = at.base + at.bits.bit_count()
        if depth > self.deepest:
            self.deepest, self.ends = depth, []
        if depth == self.deepest and len(self.ends) < MOST_ENDS and at.state not in self.ends:
            self.ends.append(at.state)

    def _next(self, at: _At) -> Iterator[tuple[Call, _At]]:
        """Calls that may come next and are legal: nothing that is missing ended before they began."""
        step, observers = self.model.step, self.model.observers
        ready, deadline = self._ready(at)
        for n in ready:
            call = self.certain[n]
            if call.f in observers and step(at.state, call) is not ILLEGAL:
                yield call, self._done(at, n, at.state)
                return
        for n in ready:
            call = self.certain[n]
            if call.f not in observers:
                state = step(at.state, call)
                if state is not ILLEGAL:
                    yield call, self._done(at, n, state)
        for place, group in enumerate(self.groups):
            used = at.taken[place]
            if used < len(group) and group[used].start < deadline:
                state = step(at.state, group[used])
                if state is not ILLEGAL and state != at.state:
                    taken = (*at.taken[:place], used + 1, *at.taken[place + 1 :])
                    yield group[used], _At(at.base, at.bits, taken, state)

    def _ready(self, at: _At) -> tuple[list[int], int]:
        """Certain calls that began before the first end among all that are missing, and that end."""
        certain, bits, n = self.certain, at.bits, at.base
        ready: list[int] = []
        deadline = certain[n].end
        while n < len(certain) and certain[n].start < deadline:
            if not bits & 1:
                ready.append(n)
                deadline = min(deadline, certain[n].end)
            bits >>= 1
            n += 1
        return ready, deadline

    def _done(self, at: _At, n: int, state: Any) -> _At:
        base, bits = at.base, at.bits | 1 << (n - at.base)
        while bits & 1:
            bits >>= 1
            base += 1
        return _At(base, bits, at.taken, state)
