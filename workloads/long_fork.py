"""Workload `long-fork`: writes of single registers and reads of a whole group, which must agree on an order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from typing import Any

from harness.settings import Setting
from workloads.transacting import (
    Program,
    TransactionWorkload,
    consistency_model,
    read,
    register_model,
    shuffled,
)

GROUP = 3
READERS = 4


class LongFork(TransactionWorkload):
    description = "independent writes, and readers of all of them: does everybody see one order?"
    settings: tuple[Setting, ...] = (register_model(), consistency_model())

    def restart(self, config: Mapping[str, Any]) -> None:
        self._groups = 0
        self._due: deque[Program] = deque()

    def program(self, rng: random.Random) -> Program:
        if not self._due:
            self._groups += 1
            keys = [f"g{self._groups}k{number}" for number in range(GROUP)]
            writes: list[Program] = [[("w", key, 1)] for key in keys]
            reads = [shuffled(rng, [read(key) for key in keys]) for _ in range(READERS)]
            self._due.extend(rng.sample([*writes, *reads], GROUP + READERS))
        return self._due.popleft()
