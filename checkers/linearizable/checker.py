"""Checker `linearizable`: is there, for each key, one legal order of all operations that real time allows?

Operations, by model (`--model`): `read`, `write` and `cas` ([old, new]) of a register; see `models` for the others.
The key is the operation's `key`, or stands in the value as Jepsen's `[k v]`. Registers start at null (or
`linearizable.initial`).

Registers whose values are written at most once are decided by their zones, in O(n log n) whatever crashed. Every
other key is searched, up to `linearizable.states` configurations (and `linearizable.seconds`, where given): a budget
that is spent makes the key unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from checkers.blame import blame
from checkers.linearizable.evidence import STALE, earliest
from checkers.linearizable.explain import NO_ORDER, Broken, explained, refined, stuck
from checkers.linearizable.models import MODELS, Call, Model, model
from checkers.linearizable.partition import Calls, by_key, calls_of, objects, until
from checkers.linearizable.search import MOST_STATES, Answer, search
from checkers.linearizable.zones import zones
from checkers.outages import outages
from harness.checker import CheckContext
from harness.columns import FAIL, INFO, OK, Columns, Ints, freeze, read_columns
from harness.history import History
from harness.results import Anomaly, Result, Verdict

ANOMALIES: Mapping[str, str] = {
    "nonlinearizable": (
        "no order of a key's operations explains every answer and keeps to real time; told as stale-read, "
        "new/old inversion, lost-write or lost-update where the values identify the writes"
    ),
    "phantom-read": "a value was read before anybody began to write it, or that nobody wrote",
    "aborted-read": "a value was read whose write certainly failed",
}
MOST_EXPLAINED = 100
"""Keys whose proof is made; the others are counted."""
REGISTERS = frozenset({"register", "cas-register"})


class Decided(msgspec.Struct, kw_only=True):
    """What is known of every key."""

    broken: list[Broken] = msgspec.field(default_factory=list)
    broken_keys: int = 0
    unknown: list[Any] = msgspec.field(default_factory=list)
    by_zones: int = 0
    by_search: int = 0
    states: int = 0


class LinearizableChecker:
    description = "there is one legal order of all operations on a key that real time does not contradict"
    anomalies = ANOMALIES
    models: Mapping[str, str] = {name: known.description for name, known in MODELS.items()}
    """What `--model` may name."""

    def read(self, path: Path, context: CheckContext) -> History:
        """A `history.jsonl` as columns, without an object an event: more is not needed here."""
        return read_columns(path)

    def check(self, history: History, context: CheckContext) -> Result:
        columns = history.columns
        kind = _model(columns, context)
        calls, foreign = calls_of(columns, kind)
        decided = decide(calls, columns, kind, context)
        anomalies = _anomalies(decided, history, context)
        reason = None if anomalies else _doubt(calls, decided, kind)
        verdict = Verdict.INVALID if anomalies else Verdict.VALID if reason is None else Verdict.UNKNOWN
        return Result(
            checker="linearizable",
            verdict=verdict,
            reason=reason,
            anomalies=anomalies,
            measures={
                "model": kind.name,
                "operations": len(calls),
                "other_operations": foreign,
                "keys": len(np.unique(calls.key)),
                "keys_by_zones": decided.by_zones,
                "keys_by_search": decided.by_search,
                "states_searched": decided.states,
                "keys_broken": decided.broken_keys,
                "keys_unknown": len(decided.unknown),
            },
        )


def _model(columns: Columns, context: CheckContext) -> Model:
    named = context.options.get("model") or context.config.get("linearizable.model")
    if named is not None:
        return model(str(named))
    return model("cas-register" if any(f.lstrip(":") == "cas" for f in columns.fs) else "register")


def decide(calls: Calls, columns: Columns, kind: Model, context: CheckContext) -> Decided:
    decided = Decided()
    initial = context.config.get("linearizable.initial", kind.initial)
    if kind.name in REGISTERS:
        left = _by_zones(calls, columns, initial, decided)
    else:
        left = np.unique(calls.key)
    _by_search(calls, columns, kind, initial, left, context, decided)
    return decided


def _by_zones(calls: Calls, columns: Columns, initial: Any, decided: Decided) -> Ints:
    """Decides every key whose values are unique; the others are returned."""
    place = calls.values.index(freeze(initial)) if freeze(initial) in calls.values else len(calls.values)
    if place == len(calls.values):
        calls = replace(calls, values=(*calls.values, freeze(initial)))
    found = zones(calls, place)
    broken = found.broken()
    ambiguous = np.setdiff1d(found.found.ambiguous, broken)
    decided.by_zones = len(np.unique(calls.key)) - len(ambiguous)
    decided.broken_keys += len(broken)
    for key, own in by_key(calls, broken[:MOST_EXPLAINED]):
        proof, prefix = earliest(own, place)
        decided.broken.append(explained(refined(proof, own), own, prefix, columns, calls.keys[key]))
    return ambiguous


def _by_search(
    calls: Calls,
    columns: Columns,
    kind: Model,
    initial: Any,
    keys: Ints,
    context: CheckContext,
    decided: Decided,
) -> None:
    budget = int(context.config.get("linearizable.states", MOST_STATES))
    out_of_time = _deadline(context.config.get("linearizable.seconds"))
    for key, own in by_key(calls, keys):
        decided.by_search += 1

        def answer(some: Calls) -> Answer:
            left = max(budget - decided.states, 0)
            found = search(
                objects(some, columns), kind, initial=initial, states=left, out_of_time=out_of_time
            )
            decided.states += found.states
            return found

        legal = answer(own).legal
        if legal is None:
            decided.unknown.append(calls.keys[key])
        elif not legal:
            decided.broken_keys += 1
            if len(decided.broken) < MOST_EXPLAINED:
                decided.broken.append(_explained_by_search(own, columns, calls.keys[key], answer))


def _deadline(limit: Any) -> Callable[[], bool]:
    if limit is None:
        return lambda: False
    end = time.monotonic() + float(limit)
    return lambda: time.monotonic() > end


def _explained_by_search(own: Calls, columns: Columns, key: Any, answer: Callable[[Calls], Answer]) -> Broken:
    """The shortest impossible beginning, by bisection over the ends of certain operations. Where the budget ends
    before that, the shortest one found so far."""
    ends = np.sort(own.end[own.outcome == OK])
    low, high = -1, len(ends) - 1
    ended: tuple[Any, ...] = ()
    while high - low > 1:
        middle = (low + high) // 2
        found = answer(until(own, int(ends[middle])))
        if found.legal is None:
            break
        if found.legal:
            low = middle
        else:
            high, ended = middle, found.ends
    place = int(ends[high])
    prefix = until(own, place)
    if not ended:
        ended = answer(prefix).ends
    culprit = next(c for c in objects(own, columns) if c.end == place)
    beside = [
        c
        for c in objects(prefix, columns)
        if c.row != culprit.row and c.end > culprit.start and c.f not in ("read",)
    ]
    label = _label(culprit, objects(prefix, columns))
    return stuck(culprit, beside[-8:], ended, int((prefix.outcome != FAIL).sum()), columns, key, label)


def _label(culprit: Call, prefix: Sequence[Call]) -> str:
    """A register that answers what was written and acknowledged before the read began answers something old."""
    written = [c for c in prefix if c.f == "write" and c.end < culprit.start]
    stale = culprit.f == "read" and any(c.asked == culprit.answered for c in written)
    return STALE if stale else NO_ORDER


def _doubt(calls: Calls, decided: Decided, kind: Model) -> str | None:
    """Why silence would prove nothing, with the number."""
    if decided.unknown:
        return (
            f"the budget ended before {len(decided.unknown)} of {len(np.unique(calls.key))} keys were decided "
            f"({decided.states} configurations searched): give it more with --set linearizable.states=N"
        )
    done = calls.outcome == OK
    if not done.any():
        return f"none of {len(calls)} operations of model {kind.name} succeeded"
    looks = [n for n, f in enumerate(calls.fs) if f in kind.observers]
    if looks and not (done & np.isin(calls.f, looks)).any():
        return f"none of {int(np.isin(calls.f, looks).sum())} reads succeeded"
    changes = ~np.isin(calls.f, looks)
    if not (changes & (done | (calls.outcome == INFO))).any():
        return f"none of {int(changes.sum())} operations that change something took effect"
    return None


def _anomalies(decided: Decided, history: History, context: CheckContext) -> tuple[Anomaly, ...]:
    """One for each name and sub-label, told by the key that broke first."""
    if not decided.broken:
        return ()
    faults = outages(history)
    groups: dict[tuple[str, str], list[Broken]] = {}
    for broken in sorted(decided.broken, key=lambda b: b.end):
        groups.setdefault((broken.name, broken.label), []).append(broken)
    keys = decided.by_zones + decided.by_search
    anomalies: list[Anomaly] = []
    for (name, label), group in sorted(groups.items()):
        first = group[0]
        where = "the register" if first.key is None else f"key {first.key}"
        more = "" if len(group) == 1 else f" (and {len(group) - 1} more keys)"
        if decided.broken_keys > len(decided.broken):
            more += f" (of {decided.broken_keys} broken keys {len(decided.broken)} were explained)"
        title = "" if label == name else f"{label}: "
        anomalies.append(
            Anomaly(
                name=name,
                summary=f"{where}: {title}{first.summary}{more}",
                ops=first.ops,
                blame=blame(name, history, context),
                where=where,
                affected=len(group),
                out_of=keys,
                faults=tuple(f.index for f in faults if f.overlaps(first.start, first.end)),
                story=first.story,
                data={**_json(first.data), "keys": [_json(b.data) for b in group]},
            )
        )
    return tuple(anomalies)


def _json(data: dict[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(data))
    return decoded
