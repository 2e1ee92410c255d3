"""A leader that was deposed behind a consumer's back, and has fewer records than its successor."""

from __future__ import annotations

import asyncio

import pytest

from harness.capabilities import TopicPartition
from tests.systems.kafka.simulated import Simulated, simulate

PARTITION = TopicPartition("input", 0)


@pytest.mark.parametrize(("client", "read"), [("aiokafka", ["new"]), ("aiokafka-plain", ["old"])])
def test_a_shorter_log_of_a_deposed_leader_resets_no_position(client: str, read: list[str]) -> None:
    assert simulate(_read_behind_the_deposition, client=client) == read


async def _read_behind_the_deposition(running: Simulated) -> list[str]:
    async def send(*values: str) -> None:
        producer = running.log("k1").producer()
        await producer.start()
        for value in values:
            await producer.send("input", value.encode(), partition=0)
        await producer.close()

    async def read() -> list[str]:
        consumer = await running.log("k2").consumer()
        await consumer.assign([PARTITION])
        await consumer.poll(timeout_ms=1000)
        await depose
        await running.on("k1", send("b", "c", "d", "new"))
        consumer.seek(PARTITION, 4)
        found = []
        while not found:
            found = await consumer.poll(timeout_ms=300, max_records=1)
        return [record.value.decode() for record in found]

    await running.on("k1", send("old"))
    leader = running.leader_of(str(PARTITION))
    others = [node.name for node in running.cluster.topology.nodes if node.name != leader]

    async def cut_off() -> None:
        for other in others:
            await running.cluster.cut(leader, other, how="drop")
            await running.cluster.cut(other, leader, how="drop")
        while True:
            await asyncio.sleep(0.1)
            if running.leader_of(str(PARTITION)) != leader:
                return

    depose = asyncio.ensure_future(cut_off())
    found: list[str] = await running.on("k2", read())
    return found


def test_a_consumer_that_retention_overtook_goes_on_at_once() -> None:
    seconds = simulate(
        _overtaken,
        **{"log.retention.bytes": 1, "log.segment.bytes": 1024, "log.retention.check.interval.ms": 100},
    )
    assert seconds < 5


async def _overtaken(running: Simulated) -> float:
    async def send(count: int) -> None:
        producer = running.log("k1").producer()
        await producer.start()
        for number in range(count):
            await producer.send("input", b"%d" % number + b"x" * 200, partition=0)
        await producer.close()

    async def read() -> float:
        consumer = await running.log("k2").consumer()
        await consumer.assign([PARTITION])
        while (await consumer.beginning_offsets([PARTITION]))[PARTITION] < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        consumer.seek(PARTITION, 2)
        while not await consumer.poll(timeout_ms=300, max_records=1):
            pass
        return asyncio.get_running_loop().time() - began

    await running.on("k1", send(40))
    seconds: float = await running.on("k2", read())
    return seconds
