"""The transaction coordinator against its own log: durability, failover, fencing, markers, time-outs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import KafkaError
from systems.broker.coordinator_log import OFFSETS, TRANSACTIONS, coordinator_partition

from .fake_broker import FakeBroker, virtually

INIT, ADD, ADD_OFFSETS, END, TXN_COMMIT, FETCH = 22, 24, 25, 26, 28, 9
TOPICS = [{"name": "orders", "partitions": [0, 1]}]
HOME = coordinator_partition("t", 2)

Scenario = Callable[[FakeBroker], Awaitable[None]]


def run(scenario: Scenario, *bugs: str, **config: Any) -> None:
    async def main() -> None:
        broker = FakeBroker(frozenset(bugs), **config)
        await broker.start()
        try:
            await scenario(broker)
        finally:
            await broker.stop()

    virtually(main())


async def init(broker: FakeBroker, timeout_ms: int = 60_000, version: int = 5, **fields: Any) -> Any:
    """As a client does: again while the predecessor's transaction is being ended."""
    while True:
        answer = await broker.ask(
            INIT,
            version,
            transactional_id="t",
            transaction_timeout=messages.milliseconds(timeout_ms),
            **fields,
        )
        if answer.error_code is not ErrorCode.concurrent_transactions:
            return answer
        await broker.settle()


async def add(broker: FakeBroker, who: Any, epoch: int | None = None) -> ErrorCode:
    answer = await broker.ask(
        ADD,
        3,
        v3_and_below_transactional_id="t",
        v3_and_below_producer_id=who.producer_id,
        v3_and_below_producer_epoch=who.producer_epoch if epoch is None else epoch,
        v3_and_below_topics=TOPICS,
    )
    return ErrorCode(answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code)


async def end(broker: FakeBroker, who: Any, *, commit: bool = True, version: int = 5) -> Any:
    return await broker.ask(
        END,
        version,
        transactional_id="t",
        producer_id=who.producer_id,
        producer_epoch=who.producer_epoch,
        committed=commit,
    )


def markers(broker: FakeBroker, index: int = 0) -> list[tuple[int, bool]]:
    return [(m["producer_epoch"], m["commit"]) for m in broker.partitions["orders", index].markers]


def states(broker: FakeBroker) -> list[str]:
    return [fields["state"] for fields in broker.emitted("txn-state")]


@pytest.mark.parametrize("commit", [True, False])
def test_a_transaction_ends_with_markers_everywhere_and_a_new_epoch(commit: bool) -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        assert await add(broker, who) is ErrorCode.none
        answer = await end(broker, who, commit=commit)
        assert (answer.error_code, answer.producer_epoch) == (ErrorCode.none, who.producer_epoch + 1)
        await broker.settle()
        assert markers(broker, 0) == markers(broker, 1) == [(who.producer_epoch + 1, commit)]
        outcome = "Commit" if commit else "Abort"
        assert states(broker) == [f"Prepare{outcome}", f"Complete{outcome}"]
        assert await add(broker, answer) is ErrorCode.none

    run(scenario)


def test_a_producer_without_transactions_gets_an_id_of_its_own() -> None:
    async def scenario(broker: FakeBroker) -> None:
        ids = [
            (
                await broker.ask(INIT, 0, transactional_id=None, transaction_timeout=messages.milliseconds(1))
            ).producer_id
            for _ in range(25)
        ]
        assert ids == list(range(100, 125))

    run(scenario)


def test_no_marker_is_sent_before_the_decision_is_durable() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        await add(broker, who)
        broker.partitions[TRANSACTIONS, HOME].fail_next = (ErrorCode.not_enough_replicas, False)
        answer = await end(broker, who)
        await broker.settle()
        assert answer.error_code is ErrorCode.coordinator_not_available
        assert markers(broker) == [] and states(broker) == []
        assert (await end(broker, who)).error_code is ErrorCode.none

    run(scenario)


@pytest.mark.parametrize("commit", [True, False])
def test_a_new_coordinator_drives_a_decision_to_its_end(commit: bool) -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        await add(broker, who)
        for index in range(3):
            broker.partitions["orders", index].leads = False
        answer = await end(broker, who, commit=commit)
        await broker.settle()
        assert markers(broker) == []
        await broker.fail_over(TRANSACTIONS, HOME)
        assert broker.emitted("coordinator-loaded")[-1]["resumed"] == ["t"]
        for index in range(3):
            broker.partitions["orders", index].leads = True
        await asyncio.sleep(0.15)
        assert markers(broker, 0) == markers(broker, 1) == [(answer.producer_epoch, commit)]
        assert states(broker)[-1] == ("CompleteCommit" if commit else "CompleteAbort")
        # The client whose answer was lost asks again, and hears the same.
        again = await end(broker, who, commit=commit)
        assert (again.error_code, again.producer_epoch) == (ErrorCode.none, answer.producer_epoch)
        other = await end(broker, who, commit=not commit)
        assert other.error_code is ErrorCode.invalid_txn_state

    run(scenario)


def test_markers_carry_the_epoch_of_the_coordinator() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await broker.fail_over(TRANSACTIONS, HOME)
        await broker.fail_over(TRANSACTIONS, HOME)
        who = await init(broker)
        await add(broker, who)
        await end(broker, who)
        await broker.settle()
        assert broker.partitions["orders", 0].markers[0]["coordinator_epoch"] == 2

    run(scenario)


def test_a_marker_is_sent_again_until_it_is_acknowledged() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        await add(broker, who)
        broker.partitions["orders", 1].fail_next = (ErrorCode.request_timed_out, True)
        await end(broker, who)
        await broker.settle()
        assert states(broker) == ["PrepareCommit"]
        assert await add(broker, who, who.producer_epoch + 1) is ErrorCode.concurrent_transactions
        await asyncio.sleep(0.1)
        assert states(broker) == ["PrepareCommit", "CompleteCommit"]

    run(scenario)


def test_a_decision_of_unknown_outcome_is_what_the_log_says() -> None:
    """The append timed out, but is in the log: the replay finds it and carries it out."""

    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        await add(broker, who)
        broker.partitions[TRANSACTIONS, HOME].fail_next = (ErrorCode.request_timed_out, True)
        assert (await end(broker, who)).error_code is ErrorCode.coordinator_not_available
        await broker.settle()
        assert markers(broker) == [(who.producer_epoch + 1, True)]
        assert (await end(broker, who)).error_code is ErrorCode.none
        assert (await end(broker, who, commit=False)).error_code is ErrorCode.invalid_txn_state

    run(scenario)


def test_a_second_producer_fences_the_first_and_ends_its_transaction() -> None:
    async def scenario(broker: FakeBroker) -> None:
        first = await init(broker)
        await add(broker, first)
        second = await init(broker)
        assert second.producer_epoch > first.producer_epoch + 1
        assert markers(broker) == [(first.producer_epoch + 1, False)]
        assert await add(broker, first) is ErrorCode.producer_fenced
        assert (await end(broker, first)).error_code is ErrorCode.producer_fenced
        assert broker.emitted("txn-aborted") == [{"transactional_id": "t", "reason": "fence"}]
        assert [f["request"] for f in broker.emitted("producer-fenced")] == ["AddPartitionsToTxn", "EndTxn"]

    run(scenario)


@pytest.mark.parametrize(("version", "code"), [(1, "invalid_producer_epoch"), (2, "producer_fenced")])
def test_older_clients_know_fencing_by_another_name(version: int, code: str) -> None:
    async def scenario(broker: FakeBroker) -> None:
        first = await init(broker)
        await init(broker)
        assert (await end(broker, first, version=version)).error_code.name == code

    run(scenario)


def test_a_transaction_runs_out_of_time_and_its_epoch_is_fenced() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker, timeout_ms=20)
        await add(broker, who)
        await asyncio.sleep(0.1)
        assert markers(broker) == [(who.producer_epoch + 1, False)]
        assert broker.emitted("txn-aborted")[-1]["reason"] == "timeout"
        assert (await end(broker, who, version=4)).error_code is ErrorCode.producer_fenced
        assert (await end(broker, who)).error_code is ErrorCode.invalid_txn_state
        assert await add(broker, who) is ErrorCode.producer_fenced
        resumed = await end(broker, who, commit=False)
        assert await add(broker, resumed) is ErrorCode.none

    run(scenario, **{"transaction.abort.timed.out.transaction.cleanup.interval.ms": 10})


def test_a_time_out_cannot_undo_a_decision() -> None:
    """The clock strikes while the commit is being decided: what was read before it is not acted on."""

    async def scenario(broker: FakeBroker) -> None:
        coordinator = broker.services[-1]._coordinator
        who = await init(broker)
        await add(broker, who)
        shard = coordinator._log.shard_of("t")
        ongoing = shard.state.by_id["t"]
        await end(broker, who)
        with pytest.raises(KafkaError, check=lambda e: e.code is ErrorCode.concurrent_transactions):
            await coordinator._time_out(shard, ongoing)
        await broker.settle()
        assert markers(broker) == [(who.producer_epoch + 1, True)]

    run(scenario)


def test_a_new_coordinator_enforces_time_outs_too() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker, timeout_ms=30)
        await add(broker, who)
        await broker.fail_over(TRANSACTIONS, HOME)
        assert markers(broker) == []
        await asyncio.sleep(0.1)
        assert markers(broker) == [(who.producer_epoch + 1, False)]

    run(scenario, **{"transaction.abort.timed.out.transaction.cleanup.interval.ms": 10})


def test_the_leader_of_a_partition_asks_whether_a_producer_may_write() -> None:
    async def verify(broker: FakeBroker, who: Any, partition: int, *, only: bool = True) -> ErrorCode:
        answer = await broker.ask(
            ADD,
            5,
            transactions=[
                {
                    "transactional_id": "t",
                    "producer_id": who.producer_id,
                    "producer_epoch": who.producer_epoch,
                    "verify_only": only,
                    "topics": [{"name": "orders", "partitions": [partition]}],
                }
            ],
        )
        (result,) = answer.results_by_transaction[0].topic_results[0].results_by_partition
        return ErrorCode(result.partition_error_code)

    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        assert await verify(broker, who, 0) is ErrorCode.transaction_abortable
        await add(broker, who)
        assert await verify(broker, who, 0) is ErrorCode.none
        assert await verify(broker, who, 2) is ErrorCode.transaction_abortable
        assert await verify(broker, who, 2, only=False) is ErrorCode.none
        assert await verify(broker, who, 2) is ErrorCode.none
        await end(broker, who)
        assert await verify(broker, who, 0) is ErrorCode.producer_fenced

    run(scenario)


async def commit_offset(broker: FakeBroker, who: Any, offset: int, **member: Any) -> ErrorCode:
    added = await broker.ask(
        ADD_OFFSETS,
        3,
        transactional_id="t",
        group_id="g",
        producer_id=who.producer_id,
        producer_epoch=who.producer_epoch,
    )
    assert added.error_code is ErrorCode.none
    return await pend_offset(broker, who, offset, **member)


async def pend_offset(broker: FakeBroker, who: Any, offset: int, **member: Any) -> ErrorCode:
    answer = await broker.ask(
        TXN_COMMIT,
        3,
        transactional_id="t",
        group_id="g",
        producer_id=who.producer_id,
        producer_epoch=who.producer_epoch,
        topics=[
            {
                "name": "orders",
                "partitions": [
                    {"partition_index": 0, "committed_offset": offset, "committed_metadata": None}
                ],
            }
        ],
        **member,
    )
    return ErrorCode(answer.topics[0].partitions[0].error_code)


async def committed(broker: FakeBroker, *, stable: bool = False) -> int | ErrorCode:
    answer = await broker.ask(
        FETCH,
        7,
        group_id="g",
        topics=[{"name": "orders", "partition_indexes": [0]}],
        require_stable=stable,
    )
    if answer.error_code is not ErrorCode.none:
        return ErrorCode(answer.error_code)
    (found,) = answer.topics[0].partitions
    return int(found.committed_offset) if found.error_code is ErrorCode.none else ErrorCode(found.error_code)


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("failover", [True, False])
def test_offsets_of_a_transaction_wait_for_its_marker(commit: bool, failover: bool) -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        assert await commit_offset(broker, who, 5) is ErrorCode.none
        assert await committed(broker) == -1
        assert await committed(broker, stable=True) is ErrorCode.unstable_offset_commit
        if failover:
            await broker.fail_over(OFFSETS, coordinator_partition("g", 2))
            assert await committed(broker, stable=True) is ErrorCode.unstable_offset_commit
        following = await end(broker, who, commit=commit)
        await broker.settle()
        assert await committed(broker, stable=True) == (5 if commit else -1)
        # The next transaction of the same producer.
        assert await commit_offset(broker, following, 9) is ErrorCode.none
        assert await committed(broker) == (5 if commit else -1)
        await end(broker, following)
        await broker.settle()
        if failover:
            await broker.fail_over(OFFSETS, coordinator_partition("g", 2))
        assert await committed(broker, stable=True) == 9

    run(scenario)


def test_a_late_offset_commit_opens_no_transaction_that_nobody_ends() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        await commit_offset(broker, who, 5)
        await end(broker, who, commit=False, version=4)
        await broker.settle()
        assert await pend_offset(broker, who, 6) is ErrorCode.invalid_txn_state
        assert await committed(broker, stable=True) == -1

    run(scenario, **{"transaction.version": 1})


def test_a_duplicate_marker_does_not_end_the_next_transaction() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        await commit_offset(broker, who, 5)
        following = await end(broker, who)
        await broker.settle()
        await commit_offset(broker, following, 9)
        await broker.ask(
            27,
            1,
            markers=[
                {
                    "producer_id": who.producer_id,
                    "producer_epoch": following.producer_epoch,
                    "transaction_result": True,
                    "topics": [{"name": OFFSETS, "partition_indexes": [coordinator_partition("g", 2)]}],
                    "coordinator_epoch": 0,
                }
            ],
        )
        await broker.settle()
        assert await committed(broker) == 5
        assert await committed(broker, stable=True) is ErrorCode.unstable_offset_commit

    run(scenario)


def test_a_member_of_an_old_generation_cannot_commit_in_a_transaction() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        assert (
            await commit_offset(broker, who, 5, member_id="gone", generation_id=3)
            is ErrorCode.illegal_generation
        )
        assert broker.emitted("commit-fenced")[-1]["member"] == "gone"

    run(scenario)


# Every wrong step of the catalogue must be wrong.


def test_bug_zombie_producer_not_fenced() -> None:
    async def scenario(broker: FakeBroker) -> None:
        first = await init(broker)
        await add(broker, first)
        second = await init(broker)
        assert second.producer_epoch == first.producer_epoch + 1
        assert (await end(broker, first)).error_code is ErrorCode.none
        await broker.settle()
        assert markers(broker)[0][1] is True

    run(scenario, "zombie-producer-not-fenced")


def test_bug_commit_retry_not_idempotent() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        await add(broker, who)
        await end(broker, who)
        await broker.settle()
        assert (await end(broker, who)).error_code is ErrorCode.invalid_txn_state

    run(scenario, "commit-retry-not-idempotent")


def test_bug_txn_timeout_not_enforced() -> None:
    async def scenario(broker: FakeBroker) -> None:
        await add(broker, await init(broker, timeout_ms=20))
        await asyncio.sleep(0.1)
        assert markers(broker) == []

    run(
        scenario,
        "txn-timeout-not-enforced",
        **{"transaction.abort.timed.out.transaction.cleanup.interval.ms": 10},
    )


def test_bug_marker_acked_before_replicated() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        await add(broker, who)
        broker.partitions["orders", 0].fail_next = (ErrorCode.request_timed_out, True)
        await end(broker, who)
        await broker.settle()
        assert states(broker) == ["PrepareCommit", "CompleteCommit"]

    run(scenario, "marker-acked-before-replicated")


def test_bug_txn_offset_commit_not_group_fenced() -> None:
    async def scenario(broker: FakeBroker) -> None:
        who = await init(broker)
        code = await commit_offset(broker, who, 5, member_id="gone", generation_id=3)
        assert code is ErrorCode.none

    run(scenario, "txn-offset-commit-not-group-fenced")
