"""The catalogue of the broker: mistakes of brokers and their clients that were really made, by where they live."""

from __future__ import annotations

from harness.catalogue import Entry, with_schedules
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
from systems.broker.catalogue.directed_groups import SCHEDULES as OF_GROUPS
from systems.broker.catalogue.directed_replication import SCHEDULES as OF_REPLICATION
from systems.broker.catalogue.directed_transactions import SCHEDULES as OF_TRANSACTIONS

CATALOGUE: tuple[Entry, ...] = with_schedules(
    (
        *replication.ENTRIES,
        *controller.ENTRIES,
        *producer.ENTRIES,
        *transactions.ENTRIES,
        *groups.ENTRIES,
        *applications.ENTRIES,
        *logs.ENTRIES,
    ),
    SCHEDULES | OF_REPLICATION | OF_GROUPS | OF_TRANSACTIONS,
)
