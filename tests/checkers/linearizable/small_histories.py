"""Small histories drawn at random: registers in which almost anything can be answered."""

from __future__ import annotations

import random

from checkers.linearizable.models import Call
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


def certain(calls: list[Call]) -> list[Call]:
    return [c for c in calls if c.certain]
