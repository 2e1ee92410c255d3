"""Register histories of any size, right by construction: every operation takes effect at one instant between its
two events. The same arguments give the same bytes; one stale read can be planted."""

from __future__ import annotations

import heapq
import random
from pathlib import Path
from typing import Any

INVOKE, EFFECT, RETURN = range(3)


def write_history(
    path: Path,
    *,
    operations: int,
    keys: int,
    concurrency: int,
    crashed: float,
    stale: bool = False,
    seed: int = 0,
) -> None:
    """Half reads, half writes of values that are unique in their key; mean latency 5 ms, mean pause 1 ms. `crashed`
    is the share that ends in `info`; half of those took effect, up to a second later. The stale read, somewhere in
    the second half, returns a value that an acknowledged write had replaced before it began."""
    rng = random.Random(seed)
    chance = rng.random
    state: list[Any] = ["null"] * keys
    fresh = [0] * keys
    replaced: list[Any] = [None] * keys
    acknowledged: list[tuple[Any, int]] = [("null", -1)] * keys
    due = operations // 2 if stale else -1
    heap: list[tuple[int, int, int, int, list[Any] | None]] = []
    sequence = index = started = 0
    for process in range(concurrency):
        heapq.heappush(heap, (int(rng.expovariate(1e-6)), sequence, INVOKE, process, None))
        sequence += 1
    free = concurrency
    lines: list[str] = []
    with path.open("w") as out:

        def event(now: int, process: int, kind: str, f: str, key: int, value: Any) -> int:
            nonlocal index
            lines.append(
                f'{{"index":{index},"time":{now},"process":{process},"type":"{kind}","f":"{f}","key":{key},"value":{value}}}\n'
            )
            index += 1
            if len(lines) == 10_000:
                out.writelines(lines)
                lines.clear()
            return index - 1

        while heap:
            now, _, what, process, call = heapq.heappop(heap)
            if what == INVOKE:
                if started == operations:
                    continue
                started += 1
                key, read = int(chance() * keys), chance() < 0.5
                if not read:
                    fresh[key] += 1
                value = "null" if read else fresh[key]
                began = event(now, process, "invoke", "read" if read else "write", key, value)
                call = [read, key, value, began, replaced[key], chance() < crashed]
                took = 1_000 + int(rng.expovariate(1 / 5e6))
                if not call[5] or (not read and chance() < 0.5):
                    effect = now + int(took * chance()) + (int(1e9 * chance()) if call[5] else 0)
                    heapq.heappush(heap, (effect, sequence, EFFECT, process, call))
                heapq.heappush(heap, (now + took, sequence + 1, RETURN, process, call))
                sequence += 2
            elif what == EFFECT:
                assert call is not None
                if call[0]:
                    call[2] = state[call[1]]
                else:
                    state[call[1]] = call[2]
            else:
                assert call is not None
                read, key, value, began, old, lost = call
                if lost:
                    event(now, process, "info", "read" if read else "write", key, value)
                    process, free = free, free + 1
                elif read:
                    if 0 <= due <= started and old is not None:
                        value, due = old, -1
                    event(now, process, "ok", "read", key, value)
                else:
                    at = event(now, process, "ok", "write", key, value)
                    before, when = acknowledged[key]
                    if when < began and before != "null":
                        replaced[key] = before
                    acknowledged[key] = (value, at)
                pause = int(rng.expovariate(1e-6))
                heapq.heappush(heap, (now + pause, sequence, INVOKE, process, None))
                sequence += 1
        out.writelines(lines)
    if due >= 0:
        raise ValueError(f"no place for a stale read in {operations} operations on {keys} keys")
