"""The real aiokafka, extended, with transactions against the simulated broker."""

from __future__ import annotations

import asyncio

import pytest

from harness.capabilities import DefiniteFailure, Fenced, TopicPartition

from .simulated import Simulated, poll, read_all, simulate

VERSIONS = pytest.mark.parametrize("version", [1, 2])


@VERSIONS
def test_committed_records_are_seen_and_aborted_ones_are_not(version: int) -> None:
    async def work(sim: Simulated) -> tuple[list[str], list[str]]:
        async def client() -> None:
            producer = sim.log().producer(transactional_id="t")
            await producer.start()
            for number in range(6):
                await producer.begin()
                for partition in range(2):
                    await producer.send("output", b"%d" % number, partition=partition)
                await (producer.abort() if number % 3 == 1 else producer.commit())
            await producer.close()

        await sim.on("k1", client())
        committed = await sim.on("k2", read_all(sim.log("k2"), "output"))
        everything = await sim.on("k2", read_all(sim.log("k2"), "output", "read_uncommitted"))
        return committed, everything

    committed, everything = simulate(work, **{"transaction.version": version})
    assert committed == ["0", "2", "3", "5"] * 2
    assert everything == ["0", "1", "2", "3", "4", "5"] * 2


def test_every_transaction_has_an_epoch_of_its_own() -> None:
    async def work(sim: Simulated) -> list[int]:
        async def client() -> None:
            producer = sim.log().producer(transactional_id="t")
            await producer.start()
            for _ in range(3):
                await producer.begin()
                await producer.send("output", b"x", partition=0)
                await producer.commit()

        await sim.on("k1", client())
        return [e["epoch"] for e in sim.events("txn-state") if e["state"] == "PrepareCommit"]

    assert simulate(work) == [1, 2, 3]


@VERSIONS
def test_a_zombie_is_fenced_by_its_successor(version: int) -> None:
    async def work(sim: Simulated) -> list[str]:
        zombie = sim.log("k1").producer(transactional_id="t")
        successor = sim.log("k2").producer(transactional_id="t")

        async def first() -> None:
            await zombie.start()
            await zombie.begin()
            await zombie.send("output", b"zombie", partition=0)

        async def second() -> None:
            await successor.start()
            await successor.begin()
            await successor.send("output", b"successor", partition=0)
            await successor.commit()

        async def third() -> None:
            with pytest.raises(Fenced):
                await zombie.commit()
            with pytest.raises((Fenced, DefiniteFailure)):
                await zombie.begin()

        await sim.on("k1", first())
        await sim.on("k2", second())
        await sim.on("k1", third())
        return list(await sim.on("k3", read_all(sim.log("k3"), "output")))

    assert simulate(work, **{"transaction.version": version}) == ["successor"]


@VERSIONS
@pytest.mark.parametrize("step", ["prepare_commit.written", "marker.sent", "complete.written"])
def test_a_commit_survives_its_coordinator(step: str, version: int) -> None:
    """The coordinator dies at the named step of the commit; another one carries the decision out."""

    async def work(sim: Simulated) -> tuple[list[str], list[str]]:
        killed: list[str] = []

        async def kill(node: str) -> None:
            killed.append(node)
            await sim.cluster.kill(node)

        async def client() -> None:
            producer = sim.log().producer(transactional_id="t")
            await producer.start()
            for number in range(2):
                await producer.begin()
                for partition in range(2):
                    await producer.send("output", b"%d" % number, partition=partition)
                if number == 1:
                    for node in ("b1", "b2", "b3"):
                        sim.cluster.arm(
                            node,
                            f"coordinator.{step}",
                            lambda node: asyncio.ensure_future(kill(node)) if not killed else None,
                        )
                await producer.commit()

        await sim.on("k1", client())
        # The answer comes with the decision; the markers may take until another coordinator is there.
        async with asyncio.timeout(60):
            while len(values := await sim.on("k2", read_all(sim.log("k2"), "output"))) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
        return values, killed

    values, killed = simulate(work, **{"transaction.version": version})
    assert len(killed) == 1
    assert values == ["0", "1"] * 2


def test_offsets_move_with_the_transaction() -> None:
    async def work(sim: Simulated) -> tuple[list[str], int | None, int | None]:
        async def client() -> tuple[int | None, int | None]:
            log = sim.log()
            feeder = log.producer()
            await feeder.start()
            for number in range(6):
                await feeder.send("input", b"%d" % number, partition=0)
            consumer = await log.consumer(group="g")
            await consumer.subscribe(["input"])
            producer = log.producer(transactional_id="t")
            await producer.start()
            for attempt in range(4):
                records = await poll(consumer, 2)
                await producer.begin()
                for record in records:
                    await producer.send("output", record.value, partition=record.partition)
                next_offset = records[-1].offset + 1
                await producer.send_offsets({TopicPartition("input", 0): next_offset}, consumer)
                if attempt == 1:
                    await producer.abort()
                    assert (await consumer.seek_to_committed())[TopicPartition("input", 0)] == 2
                else:
                    await producer.commit()
            found = [await consumer.committed(TopicPartition("input", index)) for index in range(2)]
            await consumer.close()
            return found[0], found[1]

        offsets = await sim.on("k1", client())
        return await sim.on("k2", read_all(sim.log("k2"), "output")), *offsets

    assert simulate(work) == (["0", "1", "2", "3", "4", "5"], 6, None)


def test_a_member_that_lost_its_partitions_cannot_commit_what_it_polled_before() -> None:
    """aiokafka#844: without member and generation in TxnOffsetCommit both instances would process it."""

    async def work(sim: Simulated) -> tuple[list[str], str]:
        log = sim.log("k1")
        told: list[str] = []

        async def first() -> None:
            feeder = log.producer()
            await feeder.start()
            for index in range(2):
                await feeder.send("input", b"%d" % index, partition=index)
            consumer = await log.consumer(group="g")
            await consumer.subscribe(["input"])
            producer = log.producer(transactional_id="t1")
            await producer.start()
            records = await poll(consumer, 2)
            # Another member joins; this one polls (and so rejoins), but still holds its old records.
            joined = asyncio.ensure_future(sim.on("k2", second()))
            while len(consumer.assignment()) == 2:
                await consumer.poll(timeout_ms=100)
            await joined
            await producer.begin()
            for record in records:
                await producer.send("output", b"first", partition=record.partition)
            try:
                # Polled again meanwhile: under the old membership nothing may be committed any more.
                consumer._polled = stale = (1, consumer.member[1])
                assert consumer.member == stale
                await producer.send_offsets(
                    {TopicPartition("input", r.partition): 1 for r in records}, consumer
                )
            except DefiniteFailure as error:
                told.append(str(error))
            await producer.abort()

        async def second() -> None:
            other = sim.log("k2")
            consumer = await other.consumer(group="g")
            await consumer.subscribe(["input"])
            producer = other.producer(transactional_id="t2")
            await producer.start()
            (record,) = await poll(consumer, 1)
            await producer.begin()
            await producer.send("output", b"second", partition=record.partition)
            await producer.send_offsets({TopicPartition("input", record.partition): 1}, consumer)
            await producer.commit()

        await sim.on("k1", first())
        return await sim.on("k3", read_all(sim.log("k3"), "output")), told[0]

    values, told = simulate(work)
    assert values == ["second"]
    assert "IllegalGeneration" in told


@VERSIONS
def test_a_producer_that_is_silent_too_long_loses_its_transaction(version: int) -> None:
    async def work(sim: Simulated) -> list[str]:
        async def client() -> None:
            producer = sim.log().producer(transactional_id="t")
            await producer.start()
            await producer.begin()
            await producer.send("output", b"x", partition=0)
            await asyncio.sleep(8)
            if version == 1:
                with pytest.raises(Fenced):
                    await producer.commit()
                return
            with pytest.raises(DefiniteFailure):
                await producer.commit()
            await producer.abort()
            await producer.begin()
            await producer.send("output", b"y", partition=0)
            await producer.commit()

        await sim.on("k1", client())
        assert [e["reason"] for e in sim.events("txn-aborted")] == ["timeout"]
        return list(await sim.on("k2", read_all(sim.log("k2"), "output")))

    values = simulate(work, **{"transaction.timeout.ms": 3000, "transaction.version": version})
    assert values == ([] if version == 1 else ["y"])


def test_a_refused_commit_is_definite() -> None:
    """commit-retry-not-idempotent: the answer is lost, the retry is told that there was nothing to commit."""

    async def work(sim: Simulated) -> list[str]:
        async def client() -> None:
            producer = sim.log().producer(transactional_id="t")
            await producer.start()
            await producer.begin()
            await producer.send("output", b"x", partition=0)
            for node in ("b1", "b2", "b3"):
                sim.cluster.arm(
                    node,
                    "coordinator.prepare_commit.written",
                    lambda node: asyncio.ensure_future(lose_answer(node)),
                )
            with pytest.raises(DefiniteFailure):
                await producer.commit()
            await producer.abort()

        async def lose_answer(node: str) -> None:
            await sim.cluster.cut(node, "k1", how="reject")
            await asyncio.sleep(1)
            await sim.cluster.heal(node, "k1")

        await sim.on("k1", client())
        return list(await sim.on("k2", read_all(sim.log("k2"), "output")))

    assert simulate(work, bugs=frozenset({"commit-retry-not-idempotent"})) == ["x"]
