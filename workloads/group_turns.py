"""Who of a group's slots does what, turn by turn: members that die, hang, leave, stay away for a while and come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.generators import Context, Stateless, Wait
from harness.workload import Completion, Invocation
from workloads.group_member import STEPS

PATIENCE_MS = 15_000
"""What a turn may take beside its stall: the group rebalances, its coordinator fails over."""
RETRY_MS = 200.0
MOST_STALL = 1.5
"""Of max.poll.interval.ms, or of `LONG_MS` where that is shorter: most stalls leave the member in its group."""
LONG_MS = 8_000.0
BREAK_FROM = 0.4
"""Of the time limit: when everybody leaves, if they do."""


class Hazards(msgspec.Struct, frozen=True):
    """What members do besides working, as probabilities, how long they stay away, and how long they hang."""

    crash: float
    stall: float
    leave: float
    away_ms: float
    poll_interval_ms: float
    break_from_ms: float = 0.0
    break_ms: float = 0.0

    @staticmethod
    def of(config: Mapping[str, Any], time_limit_ms: float) -> Hazards:
        return Hazards(
            crash=float(config["group.crash.probability"]),
            stall=float(config["group.stall.probability"]),
            leave=float(config["group.leave.probability"]),
            away_ms=float(config["group.away.max.ms"]),
            break_from_ms=time_limit_ms * BREAK_FROM,
            break_ms=float(config["group.break.ms"]),
            poll_interval_ms=min(LONG_MS, float(config.get("max.poll.interval.ms", 30_000))),
        )


class Turns:
    """Generates turns for ever."""

    def __init__(self, hazards: Hazards) -> None:
        self._hazards = hazards
        self._back_ms: dict[int, float] = {}
        self._on_break: set[int] = set()

    def next(self, context: Context) -> Invocation | Wait | None:
        back_ms = self._back_ms.get(context.slot, 0.0)
        if context.now_ms < back_ms:
            return Wait(back_ms - context.now_ms)
        since_ms = context.now_ms - self._hazards.break_from_ms
        if 0 <= since_ms < self._hazards.break_ms and context.slot not in self._on_break:
            self._on_break.add(context.slot)
            return turn({"plan": "leave"})
        return turn(self._plan(context))

    def _plan(self, context: Context) -> dict[str, Any]:
        draw, hazards = context.random.random(), self._hazards
        if draw < hazards.crash:
            return {"plan": "crash", "at": context.random.choice(STEPS)}
        if draw < hazards.crash + hazards.stall:
            stall_ms = round(context.random.uniform(0.1, MOST_STALL) * hazards.poll_interval_ms)
            return {"plan": "stall", "at": context.random.choice(STEPS[:3]), "stall_ms": stall_ms}
        if draw < hazards.crash + hazards.stall + hazards.leave:
            return {"plan": "leave"}
        return {"plan": "work"}

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if completion.type == "info" or completion.retire:
            away_ms = context.random.uniform(0.0, self._hazards.away_ms)
            back_ms = context.now_ms + away_ms
            if context.slot in self._on_break:
                back_ms = max(back_ms, self._hazards.break_from_ms + self._hazards.break_ms)
            self._back_ms[context.slot] = back_ms


class DrainGroup:
    """Everybody works on until every partition was seen at its end by who has it, or `limit_ms` pass. Who has nothing
    (left) to do goes on asking: partitions may still move."""

    def __init__(self, partitions: Sequence[str], *, limit_ms: float) -> None:
        self._left = set(partitions)
        self._limit_ms = limit_ms
        self._started_ms: float | None = None
        self._ready_ms: dict[int, float] = {}

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._started_ms is None:
            self._started_ms = context.now_ms
        if not self._left or context.now_ms - self._started_ms > self._limit_ms:
            return None
        ready_ms = self._ready_ms.get(context.slot, 0.0)
        if context.now_ms < ready_ms:
            return Wait(ready_ms - context.now_ms)
        return turn({"plan": "drain"})

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if completion.type == "ok":
            self._left -= {partition for partition, _ in completion.extra.get("position", ())}
        else:
            self._ready_ms[context.slot] = context.now_ms + RETRY_MS


class AskEffects(Stateless):
    """One slot reads the effects back, and asks again until it came to their end, or `limit_ms` pass."""

    def __init__(self, *, limit_ms: float) -> None:
        self._limit_ms = limit_ms
        self._started_ms: float | None = None
        self._asking: int | None = None
        self._done = False
        self._ready_ms = 0.0

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._started_ms is None:
            self._started_ms, self._asking = context.now_ms, context.slot
        over = context.now_ms - self._started_ms > self._limit_ms
        if self._done or over or context.slot != self._asking:
            return None
        if context.now_ms < self._ready_ms:
            return Wait(self._ready_ms - context.now_ms)
        return Invocation(f="effects", timeout_ms=PATIENCE_MS)

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        self._done = completion.type == "ok" and bool(completion.extra.get("reached"))
        self._ready_ms = context.now_ms + RETRY_MS


def turn(plan: dict[str, Any]) -> Invocation:
    return Invocation(f="consume", extra=plan, timeout_ms=PATIENCE_MS + int(plan.get("stall_ms", 0)))
