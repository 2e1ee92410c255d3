"""Workload `txn-lost-update`: read a register, then write it. Two that read one version must not both commit."""

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


class TxnLostUpdate(TransactionWorkload):
    description = "transactions that read a register and then write it: is an update lost?"
    settings: tuple[Setting, ...] = (
        Setting(
            name="txn.lost.update.keys",
            default=4,
            minimum=1,
            scope="workload",
            doc="Registers in use at a time",
        ),
        register_model(),
        consistency_model(),
    )

    def restart(self, config: Mapping[str, Any]) -> None:
        self._keys = LiveKeys("u", int(config["txn.lost.update.keys"]), 40)
        self._values = Values()

    def committed(self, program: Program) -> None:
        for _, key, _ in program:
            self._keys.used(key)

    def last_looked_at(self) -> tuple[str, ...]:
        return self._keys.live

    def program(self, rng: random.Random) -> Program:
        key = self._keys.draw(rng)
        if rng.random() < 0.3:
            return [read(key)]
        return [read(key), ("w", key, self._values.next(key))]
