"""Who runs which pipeline, and what happens to it: the generator of `transfer` operations.

There are more slots than pipelines. A slot that has none takes the first that nobody holds. A pipeline is
given up when its process ends (it crashed, failed or was fenced), and also in the middle of a
stall: after a while somebody takes over although the old instance still lives, as a group
coordinator does that no longer hears of it. What the old one does when it wakes is the zombie's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from harness.generators import Context, Wait
from harness.workload import Completion, Invocation
from workloads.pipeline import STEPS

IDLE_MS = 50.0
STALL_STEPS = ("begun", "sent", "offsets-added")


class Hazards(msgspec.Struct, frozen=True):
    """What pipelines do besides committing, as probabilities, and how long a stall lasts."""

    abort: float
    crash: float
    stall: float
    stall_ms: tuple[float, float]


class Ownership:
    """Pipelines by number, for the whole of a run. `claims` counts the takings, so that a client knows an
    old instance from a new one; `numbers` counts the transfers of a process, which names transactions."""

    def __init__(self, pipelines: int) -> None:
        self.held_by: list[int | None] = [None] * pipelines
        self.free_from_ms = [0.0] * pipelines
        self.claims = [0] * pipelines
        self.numbers: dict[int, int] = {}

    def of(self, slot: int) -> int | None:
        return self.held_by.index(slot) if slot in self.held_by else None

    def of_or_taken_by(self, slot: int, now_ms: float) -> int | None:
        held = self.of(slot)
        return self._take(slot, now_ms) if held is None else held

    def _take(self, slot: int, now_ms: float) -> int | None:
        for pipeline, holder in enumerate(self.held_by):
            if holder is None and now_ms >= self.free_from_ms[pipeline]:
                self.held_by[pipeline] = slot
                self.claims[pipeline] += 1
                return pipeline
        return None

    def release(self, pipeline: int, *, from_ms: float) -> None:
        self.held_by[pipeline] = None
        self.free_from_ms[pipeline] = from_ms

    def new_phase(self) -> None:
        """Times begin again at 0; whoever holds a pipeline keeps it."""
        self.free_from_ms = [0.0] * len(self.free_from_ms)

    def transfer(self, context: Context, pipeline: int, extra: dict[str, Any]) -> Invocation:
        number = self.numbers.get(context.process, 0)
        self.numbers[context.process] = number + 1
        stall_ms = extra.get("stall_ms")
        return Invocation(
            f="transfer",
            key=str(pipeline),
            extra={"txn": f"{context.process}.{number}", "claim": self.claims[pipeline], **extra},
            timeout_ms=None if stall_ms is None else int(stall_ms) + 15_000,
        )


class Transfers:
    """Generates transfers with hazards, for ever."""

    def __init__(self, ownership: Ownership, hazards: Hazards) -> None:
        self._ownership = ownership
        self._hazards = hazards

    def next(self, context: Context) -> Invocation | Wait | None:
        pipeline = self._ownership.of_or_taken_by(context.slot, context.now_ms)
        if pipeline is None:
            return Wait(IDLE_MS)
        plan = self._plan(context)
        invocation = self._ownership.transfer(context, pipeline, plan)
        if plan["plan"] == "stall":
            after_ms = plan["stall_ms"] * context.random.uniform(0.1, 0.9)
            self._ownership.release(pipeline, from_ms=context.now_ms + after_ms)
        return invocation

    def _plan(self, context: Context) -> dict[str, Any]:
        draw, hazards = context.random.random(), self._hazards
        if draw < hazards.abort:
            return {"plan": "abort"}
        if draw < hazards.abort + hazards.crash:
            return {"plan": "crash", "at": context.random.choice(STEPS)}
        if draw < hazards.abort + hazards.crash + hazards.stall:
            stall_ms = round(context.random.uniform(*hazards.stall_ms))
            return {"plan": "stall", "at": context.random.choice(STALL_STEPS), "stall_ms": stall_ms}
        return {"plan": "commit"}

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        _release_at_end(self._ownership, context, invocation, completion)


class Drain:
    """Generates transfers without hazards until every input partition was read to its end, or for `limit_ms`.

    A pipeline that is through goes on asking: with `subscribe` it may be given another's partitions.
    """

    def __init__(self, ownership: Ownership, partitions: Sequence[str], *, limit_ms: float) -> None:
        self._ownership = ownership
        self._partitions = frozenset(partitions)
        self._drained: dict[int, frozenset[str]] = {}
        self._limit_ms = limit_ms
        self._started_ms: float | None = None

    def next(self, context: Context) -> Invocation | Wait | None:
        if self._started_ms is None:
            self._started_ms = context.now_ms
            self._ownership.new_phase()
        if self._all_drained() or context.now_ms - self._started_ms > self._limit_ms:
            return None
        pipeline = self._ownership.of_or_taken_by(context.slot, context.now_ms)
        if pipeline is None:
            return Wait(IDLE_MS)
        return self._ownership.transfer(context, pipeline, {"plan": "drain"})

    def _all_drained(self) -> bool:
        drained: frozenset[str] = frozenset().union(*self._drained.values())
        return drained >= self._partitions

    def completed(self, context: Context, invocation: Invocation, completion: Completion) -> None:
        if invocation.f != "transfer":
            return
        if completion.type == "ok" and completion.extra.get("remaining") == 0:
            self._drained[int(invocation.key)] = frozenset(completion.extra["assigned"])
        else:
            self._drained.pop(int(invocation.key), None)
        _release_at_end(self._ownership, context, invocation, completion)


def _release_at_end(
    ownership: Ownership, context: Context, invocation: Invocation, completion: Completion
) -> None:
    """A pipeline whose process ended is anybody's."""
    ended = completion.type == "info" or completion.retire
    pipeline = int(invocation.key)
    if ended and ownership.held_by[pipeline] == context.slot:
        ownership.release(pipeline, from_ms=context.now_ms)
