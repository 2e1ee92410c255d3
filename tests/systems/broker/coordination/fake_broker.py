"""A broker of one process without network or replication, for what a coordinator does with its log.

Partitions are lists; whether an append is refused, times out after the append, or is not yet replicated is
up to the test. Requests to any broker (itself included) go straight to the services under test.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from kio.schema.errors import ErrorCode

from harness.clusters.sim import SimBackend
from harness.topology import Topology
from systems.broker import messages
from systems.broker.context import Appended, Handler, KafkaError, RequestContext
from systems.broker.coordinator_log import OFFSETS, TRANSACTIONS
from systems.broker.coordinators import coordinator_services
from systems.broker.log.batch import control_batch, parse, stamp
from systems.broker.metadata import BrokerState, MetadataImage, PartitionState, TopicState
from systems.broker.system import BrokerSystem

ALLOCATE_PRODUCER_IDS = 67


def virtually(scenario: Coroutine[Any, Any, None]) -> None:
    """Runs it in the simulator's virtual time, without any cluster."""

    async def main(cluster: object) -> None:
        await scenario

    SimBackend().run(
        main, system=BrokerSystem(), topology=Topology(()), config={}, bugs=frozenset(), seed=1, folder=None
    )


class FakePartition:
    """A led partition. `fail_next` is raised by the next append: before it took place, or `after`."""

    def __init__(self, topic: str, index: int) -> None:
        self.topic, self.index = topic, index
        self.leader_epoch = 0
        self.batches: list[tuple[int, bytes]] = []
        self.markers: list[dict[str, Any]] = []
        self.log_start_offset = self.log_end_offset = self.high_watermark = 0
        self.last_stable_offset = 0
        self.fail_next: tuple[ErrorCode, bool] | None = None
        self.replicating = True
        self.leads = True

    async def append(
        self, batches: bytes, *, acks: int, timeout_ms: int, leader_epoch: int | None = None
    ) -> Appended:
        self._check_leads(leader_epoch)
        failure, self.fail_next = self.fail_next, None
        if failure is not None and failure[1] is False:
            raise KafkaError(failure[0])
        base = self.write(batches)
        await asyncio.sleep(0)
        if failure is not None:
            raise KafkaError(failure[0])
        self._check_leads(leader_epoch)
        return Appended(base, self.log_end_offset - 1, 0, 0)

    async def append_marker(
        self, *, timeout_ms: int, commit: bool, transaction_version: int, **marker: Any
    ) -> Appended:
        failure, self.fail_next = self.fail_next, None
        if failure is not None and failure[1] is False:
            raise KafkaError(failure[0])
        duplicate = bool(self.markers) and self.markers[-1] == marker | {"commit": commit}
        if not duplicate:
            self.markers.append(marker | {"commit": commit})
            self.write(control_batch(commit=commit, timestamp_ms=0, **marker))
        await asyncio.sleep(0)
        if failure is not None:
            raise KafkaError(failure[0])
        end = self.log_end_offset - 1
        return Appended(end, end, 0, 0, duplicate)

    def write(self, batch: bytes) -> int:
        base = self.log_end_offset
        self.batches.append((base, stamp(batch, base_offset=base, leader_epoch=self.leader_epoch)))
        header = parse(batch, check_crc=False)
        self.log_end_offset += header.last_offset - header.base_offset + 1
        if self.replicating:
            self.high_watermark = self.log_end_offset
        return base

    def read_batches(self, start_offset: int, end_offset: int) -> Iterator[bytes]:
        for base, batch in self.batches:
            if start_offset <= base < end_offset:
                yield batch

    def _check_leads(self, epoch: int | None) -> None:
        if not self.leads or (epoch is not None and epoch != self.leader_epoch):
            raise KafkaError(ErrorCode.not_leader_or_follower)


class FakeBroker:
    """Leads every partition of `topics` and of the internal ones."""

    def __init__(self, bugs: frozenset[str] = frozenset(), **config: Any) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.steps: list[str] = []
        self.on_step: Callable[[str], None] = lambda name: None
        self.env = SimpleNamespace(
            name="b1",
            id=1,
            config={"group.initial.rebalance.delay.ms": 0, "group.min.session.timeout.ms": 1} | config,
            bugs=bugs,
            random=random.Random(1),
            wall_clock=SimpleNamespace(
                time_ns=lambda: int((1 + asyncio.get_running_loop().time()) * 1_000_000_000)
            ),
            emit=lambda kind, **fields: self.events.append((kind, fields)),
            step=self._step,
        )
        self.epoch = 1
        self.leased = True
        self.partitions = {
            (topic, index): FakePartition(topic, index)
            for topic, count in {TRANSACTIONS: 2, OFFSETS: 2, "orders": 3}.items()
            for index in range(count)
        }
        topics: dict[str, list[PartitionState]] = {}
        for topic, _ in self.partitions:
            topics.setdefault(topic, []).append(PartitionState((1,), 1, 0, 0, (1,)))
        self.image = MetadataImage(
            brokers={1: BrokerState(1, "b1", "b1", 9092, 1, False)},
            topics={
                name: TopicState(name, name.encode()[:16].ljust(16), tuple(states))
                for name, states in topics.items()
            },
            features={"transaction.version": int(config.get("transaction.version", 2))},
        )
        self.replicas = self
        self._listeners: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {}
        self._next_producer_id = 100
        self.services = coordinator_services(self)  # type: ignore[arg-type]
        self._handlers: Mapping[int, tuple[range, Handler]] = {
            key: entry for service in self.services for key, entry in service.handlers().items()
        }

    async def start(self) -> None:
        for service in self.services:
            await service.start()
        await self.settle()

    async def stop(self) -> None:
        for service in self.services:
            await service.stop()

    async def ask(self, api_key: int, version: int, /, client_id: str = "c", **fields: Any) -> Any:
        versions, handler = self._handlers[api_key]
        assert version in versions
        request = messages.request(api_key, version, **fields)
        return await handler(RequestContext(api_key, version, 1, client_id, "peer:1"), request)

    async def settle(self) -> None:
        """Lets everything that is under way come to its end."""
        for _ in range(30):
            await asyncio.sleep(0)

    def emitted(self, kind: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == kind]

    def lose(self, topic: str, index: int) -> None:
        """Leadership moves away."""
        self.partitions[topic, index].leads = False
        _, lost = self._listeners[topic]
        lost(index)

    async def fail_over(self, topic: str, index: int) -> None:
        """Leadership moves away and comes back in a new epoch: only what is in the log survives."""
        partition = self.partitions[topic, index]
        self.lose(topic, index)
        gained, _ = self._listeners[topic]
        partition.leader_epoch += 1
        partition.leads = True
        gained(partition)
        await self.settle()

    # context.Broker and context.Replicas

    def leader_of(self, topic: str, index: int) -> Any:
        partition = self.partitions.get((topic, index))
        if partition is None or not partition.leads:
            raise KafkaError(ErrorCode.not_leader_or_follower)
        return partition

    def on_leadership(self, topic: str, gained: Callable[..., None], lost: Callable[..., None]) -> None:
        self._listeners[topic] = (gained, lost)
        for (name, _), partition in self.partitions.items():
            if name == topic:
                gained(partition)

    def on_image(self, callback: Callable[..., None]) -> None: ...

    def channel(self, broker_id: int, purpose: str = "") -> Any:
        return self

    async def call(self, request: Any, *, timeout_ms: int) -> Any:
        _, handler = self._handlers[request.__api_key__]
        return await handler(RequestContext(request.__api_key__, request.__version__, 1, "b1", "b1"), request)

    async def call_controller(self, request: Any, *, timeout_ms: int) -> Any:
        assert request.__api_key__ == ALLOCATE_PRODUCER_IDS
        start, self._next_producer_id = self._next_producer_id, self._next_producer_id + 10
        context = RequestContext(ALLOCATE_PRODUCER_IDS, 0, 1, "b1", "b1")
        return messages.response(
            context, error_code=ErrorCode.none, producer_id_start=start, producer_id_len=10
        )

    def _step(self, name: str) -> None:
        self.steps.append(name)
        self.on_step(name)
