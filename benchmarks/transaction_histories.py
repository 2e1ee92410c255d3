"""Histories of transactions for timing: a strictly serializable store, concurrent clients, and cycles planted by name.

Every transaction takes effect at one instant between its invocation and its completion. A planted cycle is two
concurrent transactions on keys of their own, whose reads contradict each other.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

LIVE_KEYS = 10
WRITES_PER_KEY = 32
LATENCY_NS = 5_000_000
PAUSE_NS = 1_000_000
INVOKE, EFFECT, RETURN = range(3)
PLANTS = {
    "G1c": ([["W", 0, 1], ["r", 1, 1]], [["W", 1, 1], ["r", 0, 1]]),
    "G-single": ([["W", 0, 1], ["W", 1, 1]], [["r", 0, 0], ["r", 1, 1]]),
    "G2-item": ([["r", 0, 0], ["W", 1, 1]], [["r", 1, 0], ["W", 0, 1]]),
}
"""Two transactions over two keys of their own; `[r, k, n]` sees the first n writes of the key."""


@dataclass
class Running:
    asked: list[list[Any]]
    answered: list[list[Any]] = field(default_factory=list)
    lost: bool = False


def write(
    path: Path,
    *,
    transactions: int,
    concurrency: int,
    lists: bool = True,
    planted: tuple[str, ...] = (),
    crashed: float = 0.0,
    longest: int = 4,
    seed: int = 0,
) -> None:
    """One JSON object a line, as `chaos check` reads it."""
    with path.open("w", encoding="ascii") as out:
        for index, line in enumerate(
            _events(random.Random(seed), transactions, concurrency, lists, planted, crashed, longest)
        ):
            time, process, kind, value = line
            out.write(
                f'{{"index":{index},"time":{time},"process":{process},"type":"{kind}","f":"txn",'
                f'"value":{json.dumps(value, separators=(",", ":"))}}}\n'
            )


def _events(
    rng: random.Random,
    transactions: int,
    concurrency: int,
    lists: bool,
    planted: tuple[str, ...],
    crashed: float,
    longest: int,
) -> Iterator[tuple[int, int, str, list[list[Any]]]]:
    w = "append" if lists else "w"
    state: dict[int, Any] = {}
    live = list(range(LIVE_KEYS))
    written = dict.fromkeys(live, 0)
    users = dict.fromkeys(live, 0)
    next_key, next_process = LIVE_KEYS, concurrency
    agenda: list[tuple[int, int, int, int, Running | None]] = []
    ticket = 0

    def later(mean: int) -> int:
        return 1000 + int(mean * min(10.0, -math.log(1.0 - rng.random())))

    def put(time: int, kind: int, process: int, txn: Running | None) -> None:
        nonlocal ticket
        heappush(agenda, (time, ticket, kind, process, txn))
        ticket += 1

    def program() -> list[list[Any]]:
        nonlocal next_key
        asked: list[list[Any]] = []
        for _ in range(rng.randint(1, longest)):
            slot = rng.randrange(LIVE_KEYS)
            key = live[slot]
            users[key] += 1
            if rng.random() < 0.5:
                asked.append(["r", key, None])
                continue
            written[key] += 1
            asked.append([w, key, written[key]])
            if written[key] == WRITES_PER_KEY:
                live[slot] = next_key
                written[next_key] = users[next_key] = 0
                next_key += 1
        return asked

    def take_effect(txn: Running) -> None:
        for f, key, value in txn.asked:
            if f == "r":
                seen = state.get(key)
                txn.answered.append([f, key, list(seen or ()) if lists else seen])
            else:
                state[key] = [*(state.get(key) or ()), value] if lists else value
                txn.answered.append([f, key, value])
            users[key] -= 1
            if not users[key] and written[key] == WRITES_PER_KEY:
                state.pop(key, None)

    for process in range(concurrency):
        put(later(PAUSE_NS), INVOKE, process, None)
    begun, pending = 0, list(planted)
    while agenda:
        now, _, kind, process, txn = heappop(agenda)
        if kind == INVOKE:
            if begun >= transactions:
                continue
            begun += 1
            if pending and begun > transactions * (len(planted) - len(pending) + 1) // (len(planted) + 1):
                yield from _plant(pending.pop(0), now, next_process, next_key, w, lists)
                next_process, next_key = next_process + 2, next_key + 2
                begun += 2
            running = Running(program(), lost=rng.random() < crashed)
            yield now, process, "invoke", running.asked
            took = later(LATENCY_NS)
            put(now + int(took * rng.random()), EFFECT, process, running)
            put(now + took, RETURN, process, running)
        elif txn is not None and kind == EFFECT:
            take_effect(txn)
        elif txn is not None:
            if txn.lost:
                yield now, process, "info", txn.asked
                process, next_process = next_process, next_process + 1
            else:
                yield now, process, "ok", txn.answered
            put(now + later(PAUSE_NS), INVOKE, process, None)


def _plant(
    name: str, now: int, process: int, key: int, w: str, lists: bool
) -> Iterator[tuple[int, int, str, list[list[Any]]]]:
    answers: list[list[list[Any]]] = []
    for number, micro in enumerate(PLANTS[name]):
        answers.append([])
        for f, k, v in micro:
            seen: Any = v if f == "W" else ([1] if v else []) if lists else (v or None)
            answers[number].append([w if f == "W" else f, key + k, seen])
        asked = [[f, k, None if f == "r" else v] for f, k, v in answers[number]]
        yield now, process + number, "invoke", asked
    for number, answer in enumerate(answers):
        yield now, process + number, "ok", answer
