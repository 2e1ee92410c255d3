"""What a cluster is made of, as the nemeses and the report see it before it runs."""

from __future__ import annotations

import msgspec


class NodeInfo(msgspec.Struct, frozen=True):
    """One server process. `role` is the system's word (`broker`, `controller`, `store`)."""

    name: str
    role: str
    id: int
    port: int
    spare: bool = False
    """Not started with the cluster: there to be launched."""
    ports: dict[str, int] = {}
    """Further ports, by what they are for, with their defaults; `port` is the one that clients speak to."""


class Topology(msgspec.Struct, frozen=True):
    """Nodes in a fixed order, client hosts, and the things that selectors may name.

    `subjects` maps a selector function to the arguments it can take in this run:
    `{"leader": ("input/0", "output/0"), "coordinator": ("eos-0",)}`.
    """

    nodes: tuple[NodeInfo, ...]
    clients: tuple[str, ...] = ()
    subjects: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    message_kinds: tuple[str, ...] = ()
    """Kinds of messages between the nodes that a fault may pick; empty where the system names none."""

    @property
    def founders(self) -> tuple[NodeInfo, ...]:
        """The nodes that the cluster begins with."""
        return tuple(n for n in self.nodes if not n.spare)

    def named(self, name: str) -> NodeInfo:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def with_role(self, role: str) -> tuple[NodeInfo, ...]:
        return tuple(n for n in self.nodes if n.role == role)
