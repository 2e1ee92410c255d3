"""The cluster's state as its nodes report it: what selectors aim at and the report draws."""

from __future__ import annotations

from typing import Any

from harness.node import NodeEvent
from harness.topology import Topology
from systems.broker.coordinator_log import OFFSETS, TRANSACTIONS, coordinator_partition
from systems.broker.partition_view import PartitionView, observe_partition


class BrokerView:
    """Implements `harness.system.ClusterView`."""

    def __init__(self, topology: Topology) -> None:
        self._brokers = tuple(n.name for n in topology.with_role("broker"))
        self._partitions: dict[str, PartitionView] = {}
        self._controller = ""
        self._controller_epoch = -1
        self._fenced: dict[str, bool] = {}

    def observe(self, event: NodeEvent) -> None:
        fields = event.fields
        match event.kind:
            case "controller-elected":
                if fields["epoch"] >= self._controller_epoch:
                    self._controller, self._controller_epoch = event.node, fields["epoch"]
            case "broker-fenced" | "broker-registered":
                self._fenced[fields["broker"]] = True
            case "broker-unfenced":
                self._fenced[fields["broker"]] = False
            case _:
                observe_partition(self._partitions, event)

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        match function:
            case "controller":
                return (self._controller,) if self._controller else ()
            case "coordinator":
                return self._leader(self._coordinating(TRANSACTIONS, argument))
            case "group-coordinator":
                return self._leader(self._coordinating(OFFSETS, argument))
            case "leader":
                return self._leader(argument)
        partition = self._partitions.get(argument)
        match function:
            case "replicas":
                return partition.replicas if partition is not None else ()
            case "isr":
                return partition.isr if partition is not None else ()
            case "outside-isr":
                if partition is None:
                    return ()
                return tuple(r for r in partition.replicas if r not in partition.isr)
            case "followers":
                if partition is None:
                    return ()
                return tuple(r for r in partition.replicas if r != partition.leader)
        raise KeyError(function)

    def snapshot(self) -> dict[str, Any]:
        return {
            "controller": self._controller or None,
            "controller_epoch": self._controller_epoch,
            "fenced": [name for name in self._brokers if self._fenced.get(name, False)],
            "partitions": {
                name: {
                    "leader": partition.leader,
                    "leader_epoch": partition.leader_epoch,
                    "partition_epoch": partition.partition_epoch,
                    "isr": list(partition.isr),
                    "elr": list(partition.elr),
                    "replicas": list(partition.replicas),
                }
                for name, partition in sorted(self._partitions.items())
            },
        }

    def _leader(self, partition: str) -> tuple[str, ...]:
        known = self._partitions.get(partition)
        return (known.leader,) if known is not None and known.leader is not None else ()

    def _coordinating(self, topic: str, key: str) -> str:
        """The internal partition that a transactional id or group belongs to; empty while there is none."""
        prefix = f"{topic}/"
        count = sum(1 for name in self._partitions if name.startswith(prefix))
        return f"{prefix}{coordinator_partition(key, count)}" if count else ""
