"""Workload `causal`: processes read registers and write others, so that what one has seen stands before what it writes.

Most transactions read and then write: a chain of causes that runs through many processes. Whoever sees its end has to
see all before it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.settings import Setting
from workloads.transacting import LiveKeys, Program, TransactionWorkload, Values, read


class Causal(TransactionWorkload):
    description = "reads and writes of registers: does everybody see causes before their effects?"
    checkers = ("causal", "availability")
    settings: tuple[Setting, ...] = (
        Setting(name="causal.keys", default=4, minimum=1, scope="workload", doc="Registers in use at a time"),
        Setting(
            name="causal.uses",
            default=200,
            minimum=1,
            scope="workload",
            doc="Micro-operations of committed transactions before a register makes room for a new one",
        ),
    )

    def restart(self, config: Mapping[str, Any]) -> None:
        self._keys = LiveKeys("c", int(config["causal.keys"]), int(config["causal.uses"]))
        self._values = Values()

    def committed(self, program: Program) -> None:
        for _, key, _ in program:
            self._keys.used(key)

    def last_looked_at(self) -> tuple[str, ...]:
        return self._keys.live

    def program(self, rng: random.Random) -> Program:
        seen, written = self._keys.draw(rng), self._keys.draw(rng)
        match rng.randrange(4):
            case 0:
                return [("w", written, self._values.next(written))]
            case 1:
                return [read(seen), ("w", written, self._values.next(written))]
            case _:
                return [read(seen)]
