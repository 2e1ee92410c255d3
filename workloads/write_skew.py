"""Workload `write-skew`: two transactions read both lists of a pair, and each appends to another one of them.

Under snapshot isolation both may commit (G2-item); under serializability one of them has seen the other.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from typing import Any

from workloads.transacting import Program, TransactionWorkload, read


class WriteSkew(TransactionWorkload):
    description = "pairs of transactions that read what the other one writes: at most one may miss the other"

    def restart(self, config: Mapping[str, Any]) -> None:
        self._pairs = 0
        self._due: deque[Program] = deque()

    def program(self, rng: random.Random) -> Program:
        if not self._due:
            self._pairs += 1
            keys = [f"p{self._pairs}a", f"p{self._pairs}b"]
            for own in rng.sample(keys, 2):
                self._due.append([*(read(key) for key in rng.sample(keys, 2)), ("append", own, 1)])
            # Somebody sees what became of it: versions that nobody reads prove nothing.
            self._due.append([read(key) for key in keys])
        return self._due.popleft()
