"""The catalogue of the store: mistakes of quorum stores that were really made, by where they live."""

from __future__ import annotations

import msgspec

from harness.catalogue import Entry
from systems.quorum.catalogue import durability, merging, registers, ring
from systems.quorum.catalogue.directed import SCHEDULES

_ENTRIES: tuple[Entry, ...] = (
    *registers.ENTRIES,
    *merging.ENTRIES,
    *durability.ENTRIES,
    *ring.ENTRIES,
)

CATALOGUE: tuple[Entry, ...] = tuple(
    msgspec.structs.replace(entry, directed=entry.directed or SCHEDULES.get(entry.name)) for entry in _ENTRIES
)
