"""The catalogue of the store: mistakes of quorum stores that were really made, by where they live."""

from __future__ import annotations

from harness.catalogue import Entry, with_schedules
from systems.quorum.catalogue import durability, merging, registers, ring
from systems.quorum.catalogue.directed import SCHEDULES

CATALOGUE: tuple[Entry, ...] = with_schedules(
    (
        *registers.ENTRIES,
        *merging.ENTRIES,
        *durability.ENTRIES,
        *ring.ENTRIES,
    ),
    SCHEDULES,
)
