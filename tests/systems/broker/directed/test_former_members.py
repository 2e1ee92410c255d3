"""A group member that finds itself replaced, and commits what it had read before."""

from __future__ import annotations

import asyncio

import pytest

from harness.capabilities import Record, TopicPartition
from tests.systems.broker.directed.recorded import Recorded
from tests.systems.kafka.simulated import Simulated, poll, simulate

PARTITION = TopicPartition("input", 0)
SESSION_TIMEOUT_MS = 3_000


@pytest.mark.parametrize(
    ("bug", "expected"), [("generation-not-fenced", {"offset-regression"}), (None, set())]
)
def test_offsets_of_a_former_member(bug: str | None, expected: set[str]) -> None:
    """The partition's new owner has committed more; what the old one commits then would be read twice."""
    named = simulate(
        _replaced,
        bugs=frozenset() if bug is None else frozenset({bug}),
        **{"session.timeout.ms": SESSION_TIMEOUT_MS},
    )
    assert named == expected


async def _replaced(running: Simulated) -> set[str]:
    recorded = Recorded(running)

    async def fill() -> None:
        producer = running.log("k1").producer()
        await producer.start()
        for number in range(6):
            await producer.send("input", b"%d" % number, partition=0)
        await producer.close()

    async def member(host: str, process: int, count: int, committing: asyncio.Future[None]) -> None:
        log = running.log(host)
        consumer = await log.consumer(group="g")
        await consumer.subscribe(["input"])
        recorded.begin_transaction(process, f"{process}.0")
        read: list[Record] = await poll(consumer, count)
        await committing
        offset = read[-1].offset + 1
        inputs = tuple([str(PARTITION), record.offset, record.value.decode()] for record in read)
        try:
            await consumer.commit({PARTITION: offset})
        except Exception:
            recorded.end_transaction(process, f"{process}.0", "info", [], inputs)
        else:
            recorded.end_transaction(process, f"{process}.0", "ok", [], inputs)
        await consumer.close()

    async def fetch_committed() -> None:
        consumer = await running.log("k1").consumer(group="g")
        await consumer.assign([PARTITION])
        recorded.begin(9, "committed")
        recorded.end(9, "ok", "committed", None, [[str(PARTITION), await consumer.committed(PARTITION)]])
        await consumer.close()

    await running.on("k1", fill())
    at_once, later = asyncio.get_running_loop().create_future(), asyncio.get_running_loop().create_future()
    at_once.set_result(None)
    former = asyncio.ensure_future(running.on("k2", member("k2", 2, 2, later)))
    await asyncio.sleep(2)
    await running.cluster.pause("k2")
    await running.on("k3", member("k3", 3, 6, at_once))
    await running.cluster.resume("k2")
    later.set_result(None)
    await former
    await running.on("k1", fetch_committed())
    return recorded.anomalies("exactly-once")
