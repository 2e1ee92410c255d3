"""Workload `append`: transactions of appends and reads of lists, which show the order of their own past."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.settings import Setting
from workloads.transacting import LiveKeys, Program, TransactionWorkload, Values, consistency_model, read


class Append(TransactionWorkload):
    description = "transactions that append to lists and read them (list-append)"
    settings: tuple[Setting, ...] = (
        Setting(name="append.keys", default=6, minimum=1, scope="workload", doc="Lists in use at a time"),
        Setting(
            name="append.uses",
            default=60,
            minimum=1,
            scope="workload",
            doc="Micro-operations of committed transactions before a list makes room for a new one",
        ),
        Setting(
            name="append.length",
            default=4,
            minimum=1,
            scope="workload",
            doc="Most micro-operations of a transaction",
        ),
        consistency_model(),
    )

    def restart(self, config: Mapping[str, Any]) -> None:
        self._keys = LiveKeys("l", int(config["append.keys"]), int(config["append.uses"]))
        self._length = int(config["append.length"])
        self._values = Values()

    def committed(self, program: Program) -> None:
        for _, key, _ in program:
            self._keys.used(key)

    def last_looked_at(self) -> tuple[str, ...]:
        return self._keys.live

    def program(self, rng: random.Random) -> Program:
        drawn: Program = []
        for _ in range(rng.randint(1, self._length)):
            key = self._keys.draw(rng)
            drawn.append(read(key) if rng.random() < 0.5 else ("append", key, self._values.next(key)))
        return drawn
