"""Workload `wr`: transactions of writes and reads of registers; every value of a key is written once."""

from __future__ import annotations

from harness.settings import Setting
from workloads.transacting import ReadsAndWrites, consistency_model, length, register_model, rotating_keys


class Wr(ReadsAndWrites):
    description = "transactions that write registers and read them (rw-register)"
    settings: tuple[Setting, ...] = (
        *rotating_keys("wr", "register"),
        length("wr"),
        register_model(),
        consistency_model(),
    )
    name, prefix, write = "wr", "r", "w"
