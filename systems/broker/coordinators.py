"""A broker's coordinators, wired together: what the node's assembly starts and serves."""

from __future__ import annotations

from systems.broker.context import Broker, Service
from systems.broker.find_coordinator import FindCoordinator
from systems.broker.groups.coordinator import GroupCoordinator
from systems.broker.internal_topics import InternalTopics
from systems.broker.producer_ids import ProducerIds
from systems.broker.transactions.coordinator import TransactionCoordinator
from systems.broker.transactions.describing import TransactionDescriptions
from systems.broker.transactions.markers import MarkerReceiver, MarkerSender
from systems.broker.transactions.requests import TransactionRequests


def coordinator_services(broker: Broker) -> tuple[Service, ...]:
    """Transactions, groups, their markers and FindCoordinator."""
    topics = InternalTopics(broker)
    groups = GroupCoordinator(broker)
    transactions = TransactionCoordinator(broker, topics, ProducerIds(broker), MarkerSender(broker))
    return (
        FindCoordinator(broker, topics),
        groups,
        MarkerReceiver(broker, groups),
        TransactionRequests(broker, transactions),
        TransactionDescriptions(broker, transactions),
    )
