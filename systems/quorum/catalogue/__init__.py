"""The catalogue of the store: mistakes of quorum stores that were really made, by where they live."""

from __future__ import annotations

from harness.catalogue import Entry
from systems.quorum.catalogue import durability, merging, registers, ring

CATALOGUE: tuple[Entry, ...] = (
    *registers.ENTRIES,
    *merging.ENTRIES,
    *durability.ENTRIES,
    *ring.ENTRIES,
)
