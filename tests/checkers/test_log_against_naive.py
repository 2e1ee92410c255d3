"""The `log` checker finds exactly what the definitions, applied without thought of speed, find."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from log_model import produce_history
from naive_log import violations

from checkers.log.checker import find
from checkers.log.observations import observe
from harness.history import History, HistoryWriter

ORDERS = ("orders/0", "orders/1")
WITHOUT_VALUE = ("inconsistent-offsets", "nonmonotonic-end-offset")


def found(history: History) -> set[tuple[str, str, Any, int | None]]:
    return {
        (f.name, f.partition, None if f.name in WITHOUT_VALUE else f.value, f.offset)
        for f in find(observe(history))
        if f.name != "lso-stuck"
    }


class Chaos:
    """Operations without any system behind them: what is read and acknowledged is drawn from few values and
    offsets, mostly near to what a log could be."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.time = 0
        self.writer = HistoryWriter(None, self._clock)
        self.log = {name: self._log(name) for name in ORDERS}
        self.open: dict[int, tuple[str, Any, Any]] = {}
        self.process = 0
        self.fresh = 10
        self.at: dict[int, int] = {}

    def _clock(self) -> int:
        self.time += 1_000_000
        return self.time

    def _log(self, name: str) -> dict[int, str]:
        offsets = sorted(self.rng.sample(range(8), self.rng.randrange(6)))
        return {o: self._value() for o in offsets}

    def _value(self) -> str:
        return f"{self.rng.randrange(3)}:{self.rng.randrange(4)}"

    def slice(self, name: str, start: int) -> list[list[Any]]:
        records = [[name, o, v] for o, v in self.log[name].items() if o >= start][: self.rng.randrange(5)]
        fault = self.rng.random()
        if records and fault < 0.1:
            records.pop(self.rng.randrange(len(records)))
        elif records and fault < 0.2:
            records.append(list(self.rng.choice(records)))
        elif len(records) > 1 and fault < 0.3:
            records[0], records[-1] = records[-1], records[0]
        elif records and fault < 0.4:
            records[self.rng.randrange(len(records))][2] = self._value()
        return records

    def step(self) -> None:
        slot = self.rng.randrange(5)
        if slot in self.open:
            self.complete(slot)
        else:
            self.invoke(slot)

    def invoke(self, slot: int) -> None:
        f = self.rng.choice(("send", "send", "poll", "poll", "final-read", "end-offset"))
        key = self.rng.choice(ORDERS)
        value: Any = None
        extra: dict[str, Any] = {}
        if f == "send":
            value = self._value() if self.rng.random() < 0.7 else [self._value() for _ in range(2)]
            if isinstance(value, list) and value[0] == value[1]:
                value = value[0]
        elif f == "final-read":
            start = self.at.get(slot, 0) if self.rng.random() < 0.5 else 0
            extra = {"from": start}
        self.writer.append(
            slot, "invoke", f, key=key if f in ("send", "final-read") else None, value=value, extra=extra
        )
        self.open[slot] = (f, key, value if f == "send" else extra)

    def complete(self, slot: int) -> None:
        f, key, what = self.open.pop(slot)
        rng = self.rng
        if f == "send":
            kind = rng.choice(("ok", "ok", "ok", "fail"))
            one = not isinstance(what, list)
            places = [self._place(key, v) for v in ([what] if one else what)]
            extra: dict[str, Any] = {"offset": places[0]} if one else {"offsets": places}
            self.writer.append(slot, kind, f, key=key, value=what, extra=extra if kind == "ok" else {})
        elif f == "poll":
            extra = {}
            if rng.random() < 0.4:
                extra = {"assigned": [[name, rng.randrange(4)] for name in ORDERS if rng.random() < 0.7]}
            records = [r for name in ORDERS for r in self.slice(name, rng.randrange(5))]
            self.writer.append(slot, "ok", f, value=records, extra=extra)
        elif f == "end-offset":
            self.writer.append(slot, "ok", f, value=[[name, rng.randrange(5, 10)] for name in ORDERS])
        else:
            start = what["from"]
            records = self.slice(key, start)
            end = rng.choice((8, 8, 9))
            following = max((r[1] for r in records), default=start) + 1
            reached = rng.random() < 0.6
            self.at[slot] = end if reached else following
            extra = {"from": start, "next": self.at[slot], "end": end, "reached": reached}
            extra["high_watermark"] = end + rng.choice((0, 0, 1))
            self.writer.append(slot, "ok", f, key=key, value=records, extra=extra)

    def _place(self, name: str, value: str) -> int | None:
        places = [o for o, v in self.log[name].items() if v == value]
        draw = self.rng.random()
        if places and draw < 0.8:
            return places[0]
        return None if draw < 0.9 else self.rng.randrange(8)


@settings(max_examples=1_000, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60))
def test_on_arbitrary_operations(seed: int, steps: int) -> None:
    chaos = Chaos(random.Random(seed))
    for _ in range(steps):
        chaos.step()
    history = chaos.writer.history()
    assert found(history) == violations(history)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(10, 150))
def test_on_legal_runs(seed: int, steps: int) -> None:
    history = produce_history(random.Random(seed), steps)
    assert found(history) == violations(history)
