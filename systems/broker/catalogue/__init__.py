"""The catalogue of the broker: mistakes of brokers and their clients that were really made, by where they live."""

from __future__ import annotations

from harness.catalogue import Entry
from systems.broker.catalogue import applications, controller, logs, producer, replication, transactions

CATALOGUE: tuple[Entry, ...] = (
    *replication.ENTRIES,
    *controller.ENTRIES,
    *producer.ENTRIES,
    *transactions.ENTRIES,
    *applications.ENTRIES,
    *logs.ENTRIES,
)
