"""S11: the end of a transaction is held up in the network, its client asks again on a new connection, and goes on.
What was held up arrives while the next transaction is open. By its producer's epoch nobody can tell them apart
unless every transaction has one of its own (KIP-890)."""

from __future__ import annotations

import asyncio

import pytest

from systems.broker.coordinator_log import TRANSACTIONS, coordinator_partition
from tests.systems.broker.directed.recorded import Recorded
from tests.systems.kafka.simulated import Simulated, simulate

REQUEST_TIMEOUT_S = 3.0
IN_THE_BACKOFF_S = REQUEST_TIMEOUT_S + 0.05
"""The client has given up on the request, and not yet asked again."""
AS_LATE_AS_IT_GETS_S = 2.0


@pytest.mark.parametrize(
    ("late", "version", "expected"),
    [
        ("commit", 1, {"aborted-read", "torn-txn"}),
        ("abort", 1, {"lost-write", "torn-txn"}),
        ("commit", 2, set()),
        ("abort", 2, set()),
    ],
)
def test_a_late_end_and_the_next_transaction(late: str, version: int, expected: set[str]) -> None:
    async def scenario(running: Simulated) -> set[str]:
        recorded = Recorded(running)
        await running.on("k1", _two_transactions(running, recorded, commits=late == "commit"))
        await recorded.read_back("output")
        return recorded.anomalies("exactly-once", "log")

    assert simulate(scenario, **{"transaction.version": version}) == expected


async def _two_transactions(running: Simulated, recorded: Recorded, *, commits: bool) -> None:
    producer = running.log("k1").producer(transactional_id="t")
    await producer.start()

    async def send(value: str, partition: int) -> list[object]:
        sent = await producer.send("output", value.encode(), partition=partition)
        return [f"output/{partition}", sent.offset, value]

    recorded.begin_transaction(1, "1.0")
    await producer.begin()
    a = await send("0@0=a by 1.0 1/1", 0)
    coordinator = running.leader_of(f"{TRANSACTIONS}/{coordinator_partition('t', 4)}")
    await running.cluster.cut("k1", coordinator, how="drop")
    ending = asyncio.ensure_future(producer.commit() if commits else producer.abort())
    await asyncio.sleep(IN_THE_BACKOFF_S)
    await running.cluster.heal("k1", coordinator)
    await ending
    recorded.end_transaction(1, "1.0", "ok" if commits else "fail", [a], (["input/0", 0, "a"],))

    recorded.begin_transaction(1, "1.1")
    await producer.begin()
    b = await send("0@1=b by 1.1 1/2", 0)
    await asyncio.sleep(AS_LATE_AS_IT_GETS_S)
    c = await send("0@2=c by 1.1 2/2", 1)
    await (producer.abort() if commits else producer.commit())
    inputs = (["input/0", 1, "b"], ["input/0", 2, "c"])
    recorded.end_transaction(1, "1.1", "fail" if commits else "ok", [b, c], inputs)
    await producer.close()
