"""The order in which aiokafka asks the brokers it knows.

`ClusterMetadata.brokers()` is a set of tuples that hold None, and before Python 3.12 the hash of None is an
address: another process asks the same brokers in another order before it even draws one of them. Sorted by
id it is the same set, and the draw alone decides.
"""

from __future__ import annotations

from typing import Any

from aiokafka.cluster import ClusterMetadata

_unordered = ClusterMetadata.brokers


def _ordered(self: Any) -> list[Any]:
    return sorted(_unordered(self), key=lambda broker: str(broker.nodeId))


def pin_node_order() -> None:
    """Gives `brokers()` an order, for every client of this process. Twice is as good as once."""
    ClusterMetadata.brokers = _ordered
