"""What faults are aimed at: selectors that make sense for a topology and the subjects of a run.

A selector is only text here; it is resolved when its fault fires (grammar: `harness.schedule`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.topology import Topology

QUORUM_ROLE = "controller"
"""Nodes of this role agree by majority: at most a minority of them is taken down at a time."""


class Aim(NamedTuple):
    """What a nemesis knows when it draws: who there is, what they may be asked to do, and the timings."""

    topology: Topology
    rng: random.Random
    config: Mapping[str, Any]

    @property
    def data_role(self) -> str:
        """The role of the nodes that serve clients."""
        roles = [n.role for n in self.topology.nodes]
        return next((r for r in roles if r != QUORUM_ROLE), roles[0])

    @property
    def data_nodes(self) -> str:
        """`brokers`, `stores`, …: all nodes that serve clients."""
        return f"{self.data_role}s"

    @property
    def replicated(self) -> bool:
        """Whether there is anybody to lag, to take over or to be cut from."""
        return len(self.topology.with_role(self.data_role)) > 1

    @property
    def any_data_node(self) -> str:
        return f"one-of({self.data_nodes})"

    @property
    def clients(self) -> bool:
        return bool(self.topology.clients)

    @property
    def controller(self) -> str | None:
        """The active controller, where a minority of its quorum can be spared."""
        return "controller" if len(self.topology.with_role(QUORUM_ROLE)) >= 3 else None

    def partition(self) -> str | None:
        """A partition whose leader the run can name: `orders/0`."""
        known = self.topology.subjects.get("leader", ())
        return self.rng.choice(known) if known else None

    def leader(self) -> str:
        partition = self.partition()
        return f"leader({partition})" if partition else self.any_data_node

    def isr(self) -> str:
        partition = self.partition()
        return f"isr({partition})" if partition else self.data_nodes

    def coordinator(self) -> str:
        """The coordinator of one of the run's transactions or groups; a leader where there are none."""
        for function in ("coordinator", "group-coordinator"):
            known = self.topology.subjects.get(function, ())
            if known:
                return f"{function}({self.rng.choice(known)})"
        return self.leader()

    @property
    def copies(self) -> int:
        """How many nodes keep each item: fewer members than that are too few."""
        return int(self.config.get("replication.factor", 3))

    @property
    def message_kinds(self) -> tuple[str, ...]:
        """The kinds of messages between the nodes, where the system names them."""
        return self.topology.message_kinds

    @property
    def session_timeout_ms(self) -> int:
        """How long a node may be silent before it is taken for dead."""
        return int(self.config.get("broker.session.timeout.ms", 3_000))

    @property
    def replica_lag_ms(self) -> int:
        """How long a follower may lag before it is out of the ISR."""
        return int(self.config.get("replica.lag.time.max.ms", 2_000))

    @property
    def request_timeout_ms(self) -> int:
        """How long a client waits for an answer before it asks again."""
        return int(self.config.get("request.timeout.ms", 3_000))
