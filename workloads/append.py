"""Workload `append`: transactions of appends and reads of lists, which show the order of their own past."""

from __future__ import annotations

from harness.settings import Setting
from workloads.transacting import ReadsAndWrites, consistency_model, length, rotating_keys


class Append(ReadsAndWrites):
    description = "transactions that append to lists and read them (list-append)"
    settings: tuple[Setting, ...] = (*rotating_keys("append", "list"), length("append"), consistency_model())
    name, prefix, write = "append", "l", "append"
