"""Checker `siblings`: a store that keeps concurrent values loses none of them, and invents no concurrency.

    put                key, value: written to that key only once; the field `saw` is the list of values that came with
                       the causal context it passes (none: a blind put)
    get, final-get     the ok's value: the list of siblings

The causal past of a put is what it saw, and the past of that. A `final-get`, after heal and quiesce, must have every
acknowledged put, or a successor of it (with `siblings.quorum`, every get must have what was acknowledged before it
began). No get may have two siblings of which one is in the past of the other: what a put has seen it replaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from checkers.antichains import width
from checkers.violations import Violation, answer, before, by_key, kinds, quoted, succeeded, where
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result


class SiblingsChecker:
    description = "no acknowledged sibling is lost, and there are no more siblings than concurrent writes"
    anomalies: Mapping[str, str] = {
        "sibling-lost": "an acknowledged put is neither among the siblings nor in the causal past of one",
        "sibling-explosion": "more siblings than concurrent puts: one of them is in the causal past of another",
        "phantom-read": "a sibling was read that nobody put there",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        every = [o for o in history.operations if o.f in ("put", "get", "final-get")]
        quorum = bool(context.config.get("siblings.quorum", False))
        found: list[Violation] = []
        out_of: dict[tuple[str, str], tuple[int, str]] = {}
        most = 0
        for key, operations in by_key(every).items():
            cart = _Key(key, operations)
            found += cart.phantoms() + cart.lost(quorum)
            out_of["sibling-lost", cart.where] = len(succeeded(operations, "put")), "acknowledged puts"
            found += cart.explosion()
            most = max([most, *(len(get.value or ()) for get in cart.gets)])
        acknowledged = succeeded(every, "put")
        finals = succeeded(every, "final-get")
        doubt = None
        if not acknowledged:
            doubt = f"none of {len(every)} operations put anything with success"
        elif not finals:
            doubt = f"there is no final get after {len(acknowledged)} acknowledged puts"
        measures = {"acknowledged": len(acknowledged), "final_gets": len(finals), "most_siblings": most}
        return answer(
            "siblings",
            history,
            context,
            found,
            doubt=doubt,
            measures=measures,
            out_of=out_of,
        )


class _Key:
    def __init__(self, key: Any, operations: list[Operation]) -> None:
        self.where = where(key, "cart")
        self.puts = {freeze(o.invoke.value): o for o in kinds(operations, "put")}
        self.gets = succeeded(operations, "get", "final-get")
        self.place = {value: n for n, value in enumerate(self.puts)}
        self.past: list[int] = []
        """Of each put by place, the places in its causal past, as bits."""
        for put in self.puts.values():
            self.past.append(self.covered([freeze(v) for v in put.invoke.extra.get("saw") or ()]))

    def covered(self, values: Iterable[Any]) -> int:
        """These and their pasts, as bits; of a put that was not yet there, only itself."""
        bits = 0
        for value in values:
            place = self.place.get(value)
            if place is not None:
                bits |= 1 << place | (self.past[place] if place < len(self.past) else 0)
        return bits

    def is_past(self, one: Any, other: Any) -> bool:
        """Is `one` in the causal past of `other`?"""
        a, b = self.place.get(one), self.place.get(other)
        return a is not None and b is not None and bool(self.past[b] >> a & 1)

    def phantoms(self) -> list[Violation]:
        found: list[Violation] = []
        told: set[Any] = set()
        for get in self.gets:
            for value in _siblings(get):
                if value not in self.puts and value not in told:
                    told.add(value)
                    sentence = f"process {get.process} got {quoted(value)}, which nobody had put there"
                    found.append(self._violation("phantom-read", sentence, (get,), value))
        return found

    def lost(self, quorum: bool) -> list[Violation]:
        found: list[Violation] = []
        told: set[Any] = set()
        for get in self.gets:
            if get.f != "final-get" and not quorum:
                continue
            siblings = _siblings(get)
            covered = self.covered(siblings)
            for value, put in self.puts.items():
                if covered >> self.place[value] & 1 or value in told or not before(put, get):
                    continue
                told.add(value)
                sentence = (
                    f"{quoted(value)}, put by process {put.process} with success, is neither in {quoted(list(siblings))}, "
                    f"which process {get.process} got, nor in the past of any of those"
                )
                found.append(self._violation("sibling-lost", sentence, (put, get), value))
        return found

    def explosion(self) -> list[Violation]:
        """The first get that is no antichain."""
        for get in self.gets:
            siblings = _siblings(get)
            shadowed = next(((a, b) for a in siblings for b in siblings if self.is_past(a, b)), None)
            if shadowed is None:
                continue
            most = width([self.place[v] for v in siblings if v in self.place], self.past)
            old, new = shadowed
            sentence = (
                f"process {get.process} got {len(siblings)} siblings of which at most {most} are concurrent: "
                f"{quoted(old)} is in the past of {quoted(new)}"
            )
            operations = (*(self.puts[v] for v in (old, new)), get)
            return [self._violation("sibling-explosion", sentence, operations, len(siblings))]
        return []

    def _violation(
        self, name: str, sentence: str, operations: tuple[Operation, ...], value: Any
    ) -> Violation:
        return Violation(name=name, where=self.where, sentence=sentence, operations=operations, value=value)


def _siblings(get: Operation) -> tuple[Any, ...]:
    """Each once, in order."""
    return tuple(dict.fromkeys(freeze(value) for value in get.value or ()))
