"""The log behind a coordinator: replay, leadership, appends of unknown outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.coordinator_log import (
    TRANSACTIONS,
    CoordinatorLog,
    Entry,
    Marker,
    Producer,
    Shard,
    coordinator_partition,
    decode_batch,
    encode_batch,
)

from .fake_broker import FakeBroker, virtually

Kept = dict[bytes, bytes | None]


class KeyValues:
    """The simplest state: the last value of each key."""

    def __init__(self) -> None:
        self.unloads = 0

    def empty(self) -> Kept:
        return {}

    def replay(self, state: Kept, entry: Entry | Marker) -> None:
        assert isinstance(entry, Entry)
        state[entry.key] = entry.value

    def loaded(self, shard: Shard[Kept]) -> Sequence[str]:
        return sorted(key.decode() for key in shard.state)

    def unloaded(self, shard: Shard[Kept]) -> None:
        self.unloads += 1


class Setup:
    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.machine = KeyValues()
        self.log = CoordinatorLog(self.broker, TRANSACTIONS, kind="test", machine=self.machine)  # type: ignore[arg-type]
        self.partition = self.broker.partitions[TRANSACTIONS, 0]

    async def started(self) -> Setup:
        self.log.start()
        await self.broker.settle()
        return self


@pytest.mark.parametrize(
    ("key", "code"),
    # As Java's String.hashCode gives them; the last is Integer.MIN_VALUE, which has no absolute value.
    [("", 0), ("a", 97), ("hello", 99162322), ("Aa", 2112), ("BB", 2112), ("polygenelubricants", 0)],
)
def test_a_key_has_kafkas_partition(key: str, code: int) -> None:
    assert coordinator_partition(key, 50) == code % 50


def test_the_hash_counts_utf16_units() -> None:
    # "\U0001f600".hashCode() == 31 * 0xd83d + 0xde00
    assert coordinator_partition("\U0001f600", 1000) == (31 * 0xD83D + 0xDE00) % 1000


def test_a_batch_reads_back() -> None:
    batch = encode_batch([(b"a", b"1"), (b"b", None)], 5)
    assert decode_batch(batch) == [Entry(0, b"a", b"1"), Entry(1, b"b", None)]
    (entry,) = decode_batch(encode_batch([(b"a", b"1")], 5, Producer(7, 2)))
    assert entry.producer_id == 7


def test_what_was_appended_is_replayed_by_the_next_leader() -> None:
    async def scenario() -> None:
        setup = await Setup().started()
        await setup.log.append(setup.log.shard(0), [(b"a", b"1"), (b"b", b"2")])
        await setup.log.append(setup.log.shard(0), [(b"a", b"3")])
        await setup.broker.fail_over(TRANSACTIONS, 0)
        shard = setup.log.shard(0)
        assert (shard.epoch, shard.state) == (1, {b"a": b"3", b"b": b"2"})
        assert setup.broker.emitted("coordinator-loaded")[-1] == {
            "coordinator": "test",
            "partition": 0,
            "epoch": 1,
            "resumed": ["a", "b"],
        }

    virtually(scenario())


def test_nothing_is_answered_from_records_that_are_not_committed() -> None:
    async def scenario() -> None:
        setup = Setup()
        setup.partition.replicating = False
        setup.partition.write(encode_batch([(b"a", b"1")], 5))
        await setup.started()
        with pytest.raises(KafkaError, check=lambda e: e.code is ErrorCode.coordinator_load_in_progress):
            setup.log.shard(0)
        setup.partition.high_watermark = setup.partition.log_end_offset
        await asyncio.sleep(0.05)
        assert setup.log.shard(0).state == {b"a": b"1"}

    virtually(scenario())


def test_a_lost_partition_is_not_coordinated_here() -> None:
    async def scenario() -> None:
        setup = await Setup().started()
        shard = setup.log.shard(0)
        setup.broker._listeners[TRANSACTIONS][1](0)
        assert setup.machine.unloads == 1 and shard.lost
        with pytest.raises(KafkaError, check=lambda e: e.code is ErrorCode.not_coordinator):
            setup.log.shard(0)
        with pytest.raises(KafkaError, check=lambda e: e.code is ErrorCode.not_coordinator):
            await setup.log.append(shard, [(b"a", b"1")])
        assert setup.partition.batches == []

    virtually(scenario())


def test_an_old_epoch_appends_nothing_and_acknowledges_nothing() -> None:
    """stale-group-coordinator-acks: an append is good only if the epoch is the same when the wait ends."""

    async def scenario() -> None:
        setup = await Setup().started()
        append = asyncio.ensure_future(setup.log.append(setup.log.shard(0), [(b"a", b"1")]))
        await asyncio.sleep(0)
        setup.partition.leader_epoch += 1
        with pytest.raises(KafkaError, check=lambda e: e.code is ErrorCode.not_coordinator):
            await append

    virtually(scenario())


@pytest.mark.parametrize("code", [ErrorCode.request_timed_out, ErrorCode.not_enough_replicas_after_append])
def test_after_an_append_of_unknown_outcome_memory_follows_the_log(code: ErrorCode) -> None:
    async def scenario() -> None:
        setup = await Setup().started()
        setup.partition.fail_next = (code, True)
        with pytest.raises(KafkaError, check=lambda e: e.code is ErrorCode.coordinator_not_available):
            await setup.log.append(setup.log.shard(0), [(b"a", b"1")])
        await setup.broker.settle()
        assert setup.log.shard(0).state == {b"a": b"1"}

    virtually(scenario())


def test_a_refused_append_changes_nothing() -> None:
    async def scenario() -> None:
        setup = await Setup().started()
        shard = setup.log.shard(0)
        setup.partition.fail_next = (ErrorCode.not_enough_replicas, False)
        with pytest.raises(KafkaError, check=lambda e: e.code is ErrorCode.coordinator_not_available):
            await setup.log.append(shard, [(b"a", b"1")])
        assert setup.log.shard(0) is shard and setup.machine.unloads == 0

    virtually(scenario())
