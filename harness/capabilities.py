"""What a workload may ask of a system, without knowing which system or which client library it is.

Errors: a call raises `DefiniteFailure` only where the adapter lists the error as one that certainly left
no effect; `Fenced` where the system refused this client for good; anything else means *unknown*.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class DefiniteFailure(Exception):
    """The operation certainly did not happen and never will."""


class Indeterminate(Exception):
    """An error answer of the system that says nothing of the operation's effect."""


class Fenced(Exception):
    """Another instance took over; this client can do nothing more. Says nothing of the current operation."""


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Record(NamedTuple):
    """One consumed record. `offset` is its position in the partition; `timestamp_ms` the broker's word. The value of
    a tombstone is empty."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    timestamp_ms: int
    leader_epoch: int | None = None


class Sent(NamedTuple):
    """An acknowledged send. `offset` is None where the acknowledgement carries none (acks=0, a
    deduplicated retry)."""

    topic: str
    partition: int
    offset: int | None


class EndOffset(NamedTuple):
    """Where a partition ends, and the epoch of the leader that said so (None where it does not say)."""

    offset: int
    leader_epoch: int | None


class Consumer(Protocol):
    async def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Manual assignment, positions at the beginning."""
        ...

    async def subscribe(
        self,
        topics: Sequence[str],
        *,
        on_assigned: Callable[[Sequence[TopicPartition]], None] | None = None,
        on_revoked: Callable[[Sequence[TopicPartition]], None] | None = None,
    ) -> None:
        """Joins the group it was made for."""
        ...

    def assignment(self) -> tuple[TopicPartition, ...]:
        """Sorted."""
        ...

    async def poll(self, *, timeout_ms: int, max_records: int = 500) -> list[Record]: ...
    async def position(self, partition: TopicPartition) -> int: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    async def committed(self, partition: TopicPartition) -> int | None: ...
    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...
    async def seek_to_committed(self) -> dict[TopicPartition, int]:
        """Rewinds every assigned partition to its committed offset (or the beginning); returns positions."""
        ...

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """High watermark, or last stable offset for a read_committed consumer."""
        ...

    async def end_offsets_by_epoch(
        self, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, EndOffset]:
        """High watermarks, by the word of the leaders that are known now: asked once, raises where one errs."""
        ...

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Log start: 0 until retention or a request removes records."""
        ...

    async def close(self) -> None: ...


class GroupMember(Consumer, Protocol):
    """A consumer that shares the partitions of its topics with the other members of its group."""

    @property
    def membership(self) -> tuple[int, str]:
        """Generation and member id under which it was given the partitions it has; (-1, "") before it was given any."""
        ...

    async def commit_as(self, membership: tuple[int, str], offsets: Mapping[TopicPartition, int]) -> None:
        """Commits as who it was when it read these records: the group must refuse who is not of its generation."""
        ...


class Producer(Protocol):
    async def start(self) -> None:
        """Connects; a transactional producer also gets its producer id and fences its predecessors."""
        ...

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, partition: int | None = None
    ) -> Sent:
        """Returns once acknowledged as `acks` asks. `value` None is a tombstone."""
        ...

    async def begin(self) -> None: ...
    async def send_offsets(self, offsets: Mapping[TopicPartition, int], consumer: Consumer) -> None:
        """Adds the consumer's offsets (next to read) to the open transaction."""
        ...

    async def commit(self) -> None: ...
    async def abort(self) -> None: ...
    async def close(self) -> None: ...


class Log(Protocol):
    """Capability `log` (with `log-transactions` and `groups` where the system lists them).

    Settings of producers and consumers come from the run's configuration (`acks`,
    `enable.idempotence`, `isolation.level`, …).
    """

    async def create_topic(
        self, topic: str, *, partitions: int, replication_factor: int, config: Mapping[str, str] | None = None
    ) -> None:
        """Returns once the topic is usable; a topic that exists already is fine."""
        ...

    def producer(self, *, transactional_id: str | None = None) -> Producer: ...
    async def consumer(self, *, group: str | None = None, isolation: str | None = None) -> Consumer:
        """`isolation`: `read_committed` or `read_uncommitted`; None takes the run's `isolation.level`."""
        ...

    async def partitions(self, topic: str) -> int: ...
    async def add_partitions(self, topic: str, total: int) -> None:
        """Returns once the topic has so many, all usable; one that has them already is fine."""
        ...


class Groups(Log, Protocol):
    """Capability `groups`."""

    async def member(self, *, group: str, instance: str | None = None) -> GroupMember:
        """To be subscribed. `instance` makes it a static member: another one of that name takes its place, and its
        partitions, without a rebalance (`group.instance.id`)."""
        ...


# ── keys and values ──────────────────────────────────────────────────────────────────────────────────────


class Read(NamedTuple):
    """What a key holds. `value` is None where it holds nothing; `version` is the store's own word for it, a
    number or a list of numbers that grows with every overwrite, where it has one."""

    value: Any
    version: Any = None


class KeyValue(Protocol):
    """Capability `key-value`: registers. Values are JSON (strings, numbers, lists)."""

    async def get(self, key: str) -> Read: ...
    async def put(self, key: str, value: Any) -> Any:
        """Returns the version that the store gave it, or None where it says none."""
        ...

    async def delete(self, key: str) -> None: ...
    async def compare_and_set(self, key: str, old: Any, new: Any) -> bool:
        """Whether the key held `old` (None: nothing) and now holds `new`. Capability `compare-and-set`."""
        ...

    async def close(self) -> None: ...


class Counters(Protocol):
    """Capability `counters`: the store adds, the client does not read before it."""

    async def add(self, key: str, delta: int) -> None: ...
    async def value(self, key: str) -> int: ...
    async def close(self) -> None: ...


class Sets(Protocol):
    """Capability `sets`: the store keeps sets of strings and merges them itself."""

    async def add(self, key: str, element: str) -> None: ...
    async def remove(self, key: str, element: str) -> None:
        """Raises `DefiniteFailure` where the store saw no such member."""
        ...

    async def members(self, key: str) -> list[str]:
        """Sorted."""
        ...

    async def close(self) -> None: ...


class Concurrent(NamedTuple):
    """Siblings of a key and the causal context that a put which has seen them passes back."""

    values: list[Any]
    context: bytes | None


class Siblings(Protocol):
    """Capability `siblings`: concurrent values are all kept, and the client merges."""

    async def get(self, key: str) -> Concurrent: ...
    async def put(self, key: str, value: Any, context: bytes | None) -> Concurrent | None:
        """None for `context` is a blind put. Returns what the key holds after it, where the store says so."""
        ...

    async def close(self) -> None: ...


class Rows(Protocol):
    """Capability `rows`: several columns under one key, written together."""

    async def write(self, key: str, columns: Mapping[str, Any]) -> None: ...
    async def read(self, key: str) -> Mapping[str, Any] | None: ...
    async def close(self) -> None: ...


class Replicas(Protocol):
    """Capability `replicas`: a white-box look at what each node itself holds."""

    async def replicas(self, key: str) -> dict[str, Any]:
        """Node -> what it holds of the key (null: nothing), for the nodes that should hold it. Raises
        `OSError` where one of them cannot be asked."""
        ...

    async def close(self) -> None: ...


# ── transactions ─────────────────────────────────────────────────────────────────────────────────────────

MicroOperation = tuple[str, str, Any]
"""`("append", key, element)`, `("w", key, value)`, `("r", key, None)`; in a result a read carries what it saw."""


class Transactions(Protocol):
    """Capability `transactions`: reads and writes of several keys that commit together."""

    async def prepare(self) -> None:
        """Once a run, before any other call: the store holds no key afterwards."""
        ...

    async def transact(self, operations: Sequence[MicroOperation]) -> list[MicroOperation]:
        """In one transaction, in order; a key that nobody wrote reads as None. Raises `DefiniteFailure` where the
        transaction certainly aborted (serialization failure, deadlock, a connection that broke before COMMIT was
        sent); whatever else it raises leaves the outcome unknown."""
        ...

    async def close(self) -> None: ...


class Transaction(Protocol):
    """An open transaction, whose client decides as it goes on what to do next."""

    async def do(self, f: str, key: str, argument: Any) -> MicroOperation:
        """One micro-operation, as `Transactions.transact` would."""
        ...

    async def read(self, key: str) -> Any:
        """None where nobody wrote the key."""
        ...

    async def write(self, key: str, value: Any) -> None: ...


class InteractiveTransactions(Protocol):
    """Capability `interactive-transactions`: reads decide what is written."""

    async def prepare(self, initial: Mapping[str, Any]) -> None:
        """Once a run, before any other call: the store holds these keys and no other afterwards, whomever it is read
        from."""
        ...

    async def interact(self, body: Callable[[Transaction], Awaitable[T]], *, read_only: bool = False) -> T:
        """Begins, calls `body`, commits. Raises as `Transactions.transact` does; a `DefiniteFailure` of `body` itself
        aborts. `body` of a `read_only` transaction writes nothing."""
        ...

    async def close(self) -> None: ...
