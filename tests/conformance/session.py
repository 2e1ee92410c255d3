"""One script's conversation with a cluster that speaks the Kafka protocol, whoever wrote it.

Answers come back as plain data in which everything that differs from cluster to cluster (ids, addresses,
clocks) is gone or has a name of its own, so that two clusters' answers can be compared word for word.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from kio.schema.errors import ErrorCode

from harness.node import Address
from systems.broker.channel import Channel
from systems.broker.messages import request

from . import batches

REQUEST_TIMEOUT_MS = 15_000
SETTLE_TIMEOUT_S = 30.0
"""How long a cluster may take over what it does in the background (a coordinator's start, markers)."""
RETRY_AFTER_S = 0.05

LIST_OFFSETS, METADATA, FIND_COORDINATOR, HEARTBEAT, CREATE_TOPICS, END_TXN = 2, 3, 10, 12, 19, 26
GROUP, TRANSACTION = 0, 1

_OF_THE_CLUSTER = frozenset(
    {
        "throttle_time",
        "error_message",
        "log_append_time",
        "node_endpoints",
        "current_leader",
        "preferred_read_replica",
        "snapshot_id",
        "record_errors",
        "session_id",
        "topic_id",
        "topic_authorized_operations",
        "rack",
    }
)
"""Fields that are no answer: optional hints, human text, and names that every cluster draws anew."""

_NOT_YET = (
    ErrorCode.coordinator_load_in_progress,
    ErrorCode.coordinator_not_available,
    ErrorCode.not_coordinator,
)

Answer = dict[str, Any]


class Session:
    """Asks whichever node is the right one. Topics, groups and transactional ids carry the script's name,
    so that many scripts share a cluster."""

    def __init__(self, script: str, bootstrap: Sequence[Address]) -> None:
        self._script = script
        self._addresses: dict[int, Address] = dict(enumerate(bootstrap, start=-len(bootstrap)))
        self._channels: dict[tuple[int, str], Channel] = {}
        self._coordinators: dict[tuple[str, int], int] = {}
        self._names: dict[tuple[str, object], str] = {}

    def own(self, name: str) -> str:
        """A name that is this script's alone."""
        return f"{self._script}.{name}"

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def client_id(self, lane: str = "") -> str:
        """Under which requests of that lane are sent."""
        return f"{self._script}{lane}"

    async def ask(self, node: int, api_key: int, version: int, /, *, lane: str = "", **fields: Any) -> Any:
        """kio's response payload. Requests of another `lane` have a connection of their own: Kafka answers
        those of one connection in their order."""
        channel = self._channels.get((node, lane))
        if channel is None:
            channel = Channel(lambda: self._addresses[node], client_id=self.client_id(lane))
            self._channels[node, lane] = channel
        return await channel.call(request(api_key, version, **fields), timeout_ms=REQUEST_TIMEOUT_MS)

    # ── where things are ─────────────────────────────────────────────────────────────────────────────

    @property
    def any_node(self) -> int:
        return min(self._addresses)

    @property
    def nodes(self) -> list[int]:
        """Ids of the nodes met so far (`metadata` meets all)."""
        return sorted(node for node in self._addresses if node >= 0)

    async def another_node(self, node: int) -> int:
        await self.metadata()
        return next(other for other in self.nodes if other != node)

    def address(self, node: int) -> Address:
        return self._addresses[node]

    async def metadata(self, *topics: str) -> Any:
        found = await self.ask(
            self.any_node,
            METADATA,
            9,
            topics=[{"name": topic} for topic in topics],
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
        )
        for broker in found.brokers:
            self._addresses[broker.node_id] = Address(broker.host, broker.port)
        return found

    async def leader(self, topic: str, partition: int = 0) -> int:
        return int((await self._partition(topic, partition)).leader_id)

    async def follower(self, topic: str, partition: int = 0) -> int:
        """A node that does not lead the partition."""
        found = await self._partition(topic, partition)
        return min(int(node) for node in found.replica_nodes if node != found.leader_id)

    async def leader_epoch(self, topic: str, partition: int = 0) -> int:
        return int((await self._partition(topic, partition)).leader_epoch)

    async def _partition(self, topic: str, partition: int) -> Any:
        async def led() -> Any:
            (found,) = (await self.metadata(topic)).topics
            states = [p for p in found.partitions if p.partition_index == partition]
            return states[0] if states and states[0].leader_id >= 0 else None

        return await settled(led, f"{topic}/{partition} has no leader")

    async def coordinator(self, name: str, kind: int) -> int:
        """The node that coordinates the group or transactional id, once it does: the first to ask for one
        has the coordinators' topic created, and a coordinator loads its past before it answers."""
        known = self._coordinators.get((name, kind))
        if known is not None:
            return known
        await self.metadata()

        async def serving() -> int | None:
            answer = await self.ask(self.any_node, FIND_COORDINATOR, 3, key=name, key_type=kind)
            if answer.error_code != ErrorCode.none:
                return None
            node = int(answer.node_id)
            probe = await self._probe_coordinator(node, name, kind)
            return None if probe.error_code in _NOT_YET else node

        self._coordinators[name, kind] = await settled(serving, f"nobody coordinates {name}")
        return self._coordinators[name, kind]

    async def _probe_coordinator(self, node: int, name: str, kind: int) -> Any:
        """A request of somebody whom no coordinator knows."""
        if kind == GROUP:
            stranger: dict[str, Any] = {
                "group_id": name,
                "generation_id": 1,
                "member_id": "probe",
                "group_instance_id": None,
            }
            return await self.ask(node, HEARTBEAT, 3, **stranger)
        stranger = {"transactional_id": name, "producer_id": 4_000_000_000, "producer_epoch": 0}
        return await self.ask(node, END_TXN, 1, **stranger, committed=False)

    async def create_topic(
        self, name: str, *, partitions: int = 1, config: dict[str, str] | None = None
    ) -> str:
        """Returns its full name once every node knows every partition."""
        topic = self.own(name)
        answer = await self.ask(
            self.any_node,
            CREATE_TOPICS,
            6,
            topics=[
                {
                    "name": topic,
                    "num_partitions": partitions,
                    "replication_factor": 3,
                    "assignments": [],
                    "configs": [{"name": key, "value": value} for key, value in (config or {}).items()],
                }
            ],
            timeout=datetime.timedelta(milliseconds=REQUEST_TIMEOUT_MS),
            validate_only=False,
        )
        (created,) = answer.topics
        if created.error_code not in (ErrorCode.none, ErrorCode.topic_already_exists):
            raise RuntimeError(f"cannot create {topic}: {created.error_code.name}: {created.error_message}")
        for partition in range(partitions):
            known = partial(self._known_everywhere, topic, partition)
            await settled(known, f"{topic} does not come up")
        return topic

    async def _known_everywhere(self, topic: str, partition: int) -> bool | None:
        """The leader serves the partition, and the other nodes know that they do not."""
        leader = await self.leader(topic, partition)
        for node in self.nodes:
            wanted = {"partition_index": partition, "current_leader_epoch": -1, "timestamp": -1}
            answer = await self.ask(
                node,
                LIST_OFFSETS,
                7,
                replica_id=-1,
                isolation_level=0,
                topics=[{"name": topic, "partitions": [wanted]}],
            )
            expected = ErrorCode.none if node == leader else ErrorCode.not_leader_or_follower
            if answer.topics[0].partitions[0].error_code != expected:
                return None
        return True

    # ── answers as plain data ────────────────────────────────────────────────────────────────────────

    def plain(self, payload: Any) -> Any:
        """Error codes by name, ids by the order in which they were first seen, records read."""
        if isinstance(payload, ErrorCode):
            return payload.name
        if dataclasses.is_dataclass(payload):
            fields = [f.name for f in dataclasses.fields(payload) if f.name not in _OF_THE_CLUSTER]
            return {name: self._plain_field(name, getattr(payload, name)) for name in fields}
        if isinstance(payload, (list, tuple)):
            return [self.plain(entry) for entry in payload]
        if isinstance(payload, bytes):
            return payload.decode()
        if isinstance(payload, datetime.timedelta):
            return payload // datetime.timedelta(milliseconds=1)
        if isinstance(payload, (bool, int, float, str)) or payload is None:
            return payload
        raise TypeError(f"no plain form of {payload!r}")

    def _plain_field(self, name: str, value: Any) -> Any:
        if name in ("member_id", "leader"):
            return self.named("member", value) if value else value
        if name == "producer_id":
            return self.named("producer", value) if value >= 0 else value
        if name == "records" and (value is None or isinstance(value, bytes)):
            return [
                {key: self._plain_field(key, entry) for key, entry in found.items()}
                for found in batches.read(value or b"")
            ]
        return self.plain(value)

    def named(self, kind: str, value: object) -> str:
        """`producer-1` for the first producer id, …"""
        known = self._names.get((kind, value))
        if known is None:
            count = sum(1 for other, _ in self._names if other == kind)
            known = self._names[kind, value] = f"{kind}-{count + 1}"
        return known


async def settled(attempt: Callable[[], Awaitable[Any]], otherwise: str) -> Any:
    """The first outcome that is not None."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_TIMEOUT_S
    while (outcome := await attempt()) is None:
        if loop.time() > deadline:
            raise TimeoutError(otherwise)
        await asyncio.sleep(RETRY_AFTER_S)
    return outcome


def topic_id_of(metadata: Any) -> uuid.UUID:
    """The id of the one topic in a metadata response of version 10 or later."""
    (topic,) = metadata.topics
    return uuid.UUID(str(topic.topic_id))
