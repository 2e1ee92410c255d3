"""Workload `wr`: transactions of writes and reads of registers; every value of a key is written once."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.settings import Setting
from workloads.transacting import (
    LiveKeys,
    Program,
    TransactionWorkload,
    Values,
    consistency_model,
    read,
    register_model,
)


class Wr(TransactionWorkload):
    description = "transactions that write registers and read them (rw-register)"
    settings: tuple[Setting, ...] = (
        Setting(name="wr.keys", default=6, minimum=1, scope="workload", doc="Registers in use at a time"),
        Setting(
            name="wr.uses",
            default=60,
            minimum=1,
            scope="workload",
            doc="Micro-operations of committed transactions before a register makes room for a new one",
        ),
        Setting(
            name="wr.length",
            default=4,
            minimum=1,
            scope="workload",
            doc="Most micro-operations of a transaction",
        ),
        register_model(),
        consistency_model(),
    )

    def restart(self, config: Mapping[str, Any]) -> None:
        self._keys = LiveKeys("r", int(config["wr.keys"]), int(config["wr.uses"]))
        self._length = int(config["wr.length"])
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
            drawn.append(read(key) if rng.random() < 0.5 else ("w", key, self._values.next(key)))
        return drawn
