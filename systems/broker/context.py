"""What the parts of one broker node know of each other: the seams inside the broker.

The data plane (log, partition, replication), the control plane (metadata, lifecycle) and the
coordinators (transactions, groups) meet only here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from kio.schema.errors import ErrorCode

from harness.node import NodeEnvironment
from systems.broker.metadata import MetadataImage


class KafkaError(Exception):
    """A protocol error: travels up to the handler, which puts its code into the response."""

    def __init__(self, code: ErrorCode, detail: str = "") -> None:
        super().__init__(f"{code.name}{': ' + detail if detail else ''}")
        self.code = code


class Appended(NamedTuple):
    """`last_offset` is inclusive. `duplicate` is True where an idempotent retry was recognised and the
    offsets are those of the first append."""

    base_offset: int
    last_offset: int
    append_time_ms: int
    log_start_offset: int
    duplicate: bool = False


class LeaderPartition(Protocol):
    """A partition that this broker leads (in `leader_epoch`). Every method raises
    `KafkaError(NOT_LEADER_OR_FOLLOWER)` once that is no longer so."""

    @property
    def topic(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def leader_epoch(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...
    @property
    def last_stable_offset(self) -> int: ...
    @property
    def log_start_offset(self) -> int: ...
    @property
    def log_end_offset(self) -> int: ...

    async def append(
        self, batches: bytes, *, acks: int, timeout_ms: int, leader_epoch: int | None = None
    ) -> Appended:
        """Appends client or coordinator record batches (v2, producer checks included) and waits as `acks`
        asks (0, 1, -1). `leader_epoch`, where given, must still be the current one, before the append and
        when the wait ends. Raises `KafkaError` (`NOT_ENOUGH_REPLICAS` before, or
        `NOT_ENOUGH_REPLICAS_AFTER_APPEND` / `REQUEST_TIMED_OUT` after the append)."""
        ...

    async def append_marker(
        self,
        *,
        producer_id: int,
        producer_epoch: int,
        coordinator_epoch: int,
        transaction_version: int,
        commit: bool,
        timeout_ms: int,
    ) -> Appended:
        """A transaction's control record, at acks=all. From transaction version 2 on a duplicate marker is a
        no-op. Raises `TRANSACTION_COORDINATOR_FENCED` for an older coordinator epoch and
        `INVALID_PRODUCER_EPOCH`."""
        ...

    def read_batches(self, start_offset: int, end_offset: int) -> Iterator[bytes]:
        """Whole record batches (v2) from the local log, in order: for a coordinator's replay."""
        ...


class Replicas(Protocol):
    """This broker's partitions."""

    def leader_of(self, topic: str, index: int) -> LeaderPartition:
        """Raises `KafkaError` with `UNKNOWN_TOPIC_OR_PARTITION` or `NOT_LEADER_OR_FOLLOWER`."""
        ...

    def on_leadership(
        self,
        topic: str,
        gained: Callable[[LeaderPartition], None],
        lost: Callable[[int], None],
    ) -> None:
        """Calls `gained` when this broker begins to lead a partition of `topic` in a *new epoch* (also when
        it led before), and `lost(partition index)` when it stops. Called from the event loop, in order."""
        ...


class Channel(Protocol):
    """Kafka requests to one other node; dials when needed and redials after a failure."""

    async def call(self, request: Any, *, timeout_ms: int) -> Any:
        """Sends a kio request payload, returns the kio response payload. Raises `OSError` /
        `TimeoutError`; the request may then have been carried out or not."""
        ...


class Broker(Protocol):
    """One broker node."""

    @property
    def env(self) -> NodeEnvironment: ...
    @property
    def image(self) -> MetadataImage:
        """The newest committed metadata this broker has applied (immutable; replaced as a whole)."""
        ...

    @property
    def epoch(self) -> int:
        """This broker's broker epoch; -1 while not registered."""
        ...

    @property
    def leased(self) -> bool:
        """Whether what `image` says of this broker's leadership is certain at this moment (`lease.py`)."""
        ...

    @property
    def replicas(self) -> Replicas: ...

    def channel(self, broker_id: int, purpose: str = "") -> Channel:
        """To another broker (or to this one, through loopback). A broker answers the requests of one
        connection one after the other, so what must not wait behind something slow has its own `purpose`,
        and with it a connection of its own (Kafka keeps one client each for markers, for verification, …)."""
        ...

    async def call_controller(self, request: Any, *, timeout_ms: int) -> Any:
        """To the active controller, found and followed. Raises `TimeoutError` when none answered in time."""
        ...

    def on_image(self, callback: Callable[[MetadataImage, MetadataImage], None]) -> None:
        """Called with (old, new) after each metadata change."""
        ...


class RequestContext(NamedTuple):
    """Where a request came from."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str | None
    peer: str
    size: int = 0
    """Bytes of the request."""

    @property
    def client_host(self) -> str:
        """As groups are told of their members' hosts."""
        return f"/{self.peer.rpartition(':')[0] or self.peer}"


Handler = Callable[[RequestContext, Any], Awaitable[Any]]
"""Takes a kio request payload of any supported version and returns the kio response payload of the same
version, or None where the protocol wants no response (acks=0)."""


class Service(Protocol):
    """A part of the broker that answers requests."""

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        """API key -> (supported versions, handler). ApiVersions advertises exactly these."""
        ...

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
