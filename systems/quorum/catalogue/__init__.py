"""The catalogue of the store: mistakes of quorum stores that were really made, by where they live."""

from __future__ import annotations

from harness.catalogue import Entry, with_schedules
from systems.quorum.catalogue import (
    directed,
    directed_registers,
    directed_repair,
    directed_ring,
    durability,
    merging,
    registers,
    ring,
)

CATALOGUE: tuple[Entry, ...] = with_schedules(
    (
        *registers.ENTRIES,
        *merging.ENTRIES,
        *durability.ENTRIES,
        *ring.ENTRIES,
    ),
    {
        **directed.SCHEDULES,
        **directed_registers.SCHEDULES,
        **directed_repair.SCHEDULES,
        **directed_ring.SCHEDULES,
    },
)
