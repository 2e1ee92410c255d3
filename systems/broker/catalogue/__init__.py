"""The catalogue of the broker: mistakes of brokers and their clients that were really made, by where they live."""

from __future__ import annotations

import msgspec

from harness.catalogue import Entry
from systems.broker.catalogue import (
    applications,
    controller,
    groups,
    logs,
    producer,
    replication,
    transactions,
)
from systems.broker.catalogue.directed import SCHEDULES

_ENTRIES: tuple[Entry, ...] = (
    *replication.ENTRIES,
    *controller.ENTRIES,
    *producer.ENTRIES,
    *transactions.ENTRIES,
    *groups.ENTRIES,
    *applications.ENTRIES,
    *logs.ENTRIES,
)

CATALOGUE: tuple[Entry, ...] = tuple(
    msgspec.structs.replace(entry, directed=entry.directed or SCHEDULES.get(entry.name)) for entry in _ENTRIES
)
