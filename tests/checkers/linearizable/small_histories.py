"""Small histories drawn at random: registers in which almost anything can be answered."""

from __future__ import annotations

import random

from checkers.linearizable.models import ILLEGAL, MODELS, Call
from harness.columns import OPEN
from harness.history import History
from harness.ops import Op


def register_history(
    rng: random.Random, *, most: int = 7, cas: bool = False, unique: bool = True, lie: float = 0.3
) -> History:
    """At most `most` operations on one register that is right but for reads that lie with probability `lie`."""
    ops: list[Op] = []
    count, started, fresh = rng.randint(1, most), 0, 0
    free, next_process = list(range(rng.randint(1, 4))), 10
    open_ops: dict[int, tuple[str, object, object, bool]] = {}
    state: object = None
    values: list[object] = [None]

    def event(process: int, type: str, f: str, value: object) -> None:
        index = len(ops)
        ops.append(Op(index=index, time=index, process=process, type=type, f=f, key="x", value=value))  # type: ignore[arg-type]

    while started < count or open_ops:
        begin = started < count and free and (not open_ops or rng.random() < 0.55)
        if begin:
            started += 1
            process = free.pop(rng.randrange(len(free)))
            draw = rng.random()
            if draw < 0.5:
                f, asked = "read", None
            else:
                fresh = fresh + 1 if unique else rng.randint(1, 2)
                values.append(fresh)
                old = state if rng.random() < 0.7 else rng.choice(values)
                f, asked = ("cas", [old, fresh]) if cas and draw < 0.8 else ("write", fresh)
            event(process, "invoke", f, asked)
            open_ops[process] = (f, asked, None, False)
            continue
        process = rng.choice(sorted(open_ops))
        f, asked, result, done = open_ops[process]
        if not done and rng.random() < 0.6:
            if f == "write":
                state = asked
            elif f == "cas" and asked[0] == state:  # type: ignore[index]
                state, result = asked[1], True  # type: ignore[index]
            elif f == "read":
                result = state
            open_ops[process] = (f, asked, result, True)
            continue
        del open_ops[process]
        if rng.random() < 0.15 or not done:
            event(process, "info", f, asked)
            free.append(next_process)
            next_process += 1
            continue
        if f == "read":
            event(process, "ok", f, rng.choice(values) if rng.random() < lie else result)
        elif (f == "cas" and not result and rng.random() > lie / 2) or rng.random() < 0.05:
            event(process, "fail", f, asked)
        else:
            event(process, "ok", f, asked)
        free.append(process)
    return History(ops)


MODEL_OPERATIONS: dict[str, tuple[str, ...]] = {
    "register": ("read", "write"),
    "cas-register": ("read", "write", "cas"),
    "counter": ("read", "add", "decrement"),
    "set": ("read", "add", "add", "remove"),
    "queue": ("enqueue", "dequeue"),
    "lock": ("acquire", "release"),
    "multi-register": ("txn",),
}


def model_calls(rng: random.Random, name: str, most: int = 7) -> list[Call]:
    """Calls with random intervals, answered as a legal order of them would, but for a lie now and then."""
    model = MODELS[name]
    count = rng.randint(1, most)
    places = list(range(2 * count))
    rng.shuffle(places)
    spans = sorted(sorted(places[2 * n : 2 * n + 2]) for n in range(count))
    width = rng.choice((1, 3, 2 * count))
    spans = [(start, min(end, start + width) + 0.5 * (end > start + width)) for start, end in spans]
    order = sorted(range(count), key=lambda n: rng.uniform(*spans[n]))
    state = model.initial
    calls: dict[int, Call] = {}
    for n in order:
        f = rng.choice(MODEL_OPERATIONS[name])
        call = _asked(rng, model.functions[f], n, state)
        start, end = int(2 * spans[n][0]), int(2 * spans[n][1])
        certain = rng.random() > 0.2
        answered = _lie(rng, call.f, state) if rng.random() < 0.15 else _answer(call, state)
        call = call._replace(
            answered=answered if certain else None, start=start, end=end if certain else OPEN, certain=certain
        )
        calls[n] = call
        after = model.step(state, call)
        state = state if after is ILLEGAL else after
    return [calls[n] for n in range(count)]


def _asked(rng: random.Random, f: str, n: int, state: object) -> Call:
    asked: object = None
    if f in ("write", "enqueue"):
        asked = rng.randint(1, 3)
    elif f == "cas":
        asked = (state if rng.random() < 0.7 else rng.randint(1, 3), rng.randint(1, 3))
    elif f in ("add", "remove", "subtract"):
        asked = rng.randint(1, 3)
    elif f == "txn":
        micro = rng.sample(["x", "y"], rng.randint(1, 2))
        asked = tuple(("w", k, rng.randint(1, 3)) if rng.random() < 0.5 else ("r", k, None) for k in micro)
    return Call(f=f, asked=asked, answered=None, start=0, end=0, process=n % 3, row=n)


def _answer(call: Call, state: object) -> object:
    if call.f == "read":
        return tuple(sorted(state)) if isinstance(state, frozenset) else state
    if call.f == "dequeue":
        return state[0] if state else None  # type: ignore[index]
    if call.f == "txn":
        known = dict(state)  # type: ignore[call-overload]
        return tuple((f, k, known.get(k) if f == "r" else v) for f, k, v in call.asked)
    return call.asked


def _lie(rng: random.Random, f: str, state: object) -> object:
    if f == "read" and isinstance(state, frozenset):
        return tuple(sorted(state ^ {rng.randint(1, 3)}))
    if f == "txn":
        return (("r", "x", rng.choice((None, 1, 2))),)
    return rng.choice((None, 1, 2, 3)) if f != "read" or state is None else rng.randint(0, 4)
