"""Several produce requests under way at a time: what is sent again keeps its place with idempotence, and only then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .simulated import Simulated, read_all, simulate

PIPELINED: dict[str, Any] = {"batch.size": 80, "max.in.flight.requests.per.connection": 5}
SENT = [f"value {n}" for n in range(5)]


async def _send_all(producer: Any) -> None:
    sends = (producer.send("output", value.encode(), partition=0) for value in SENT)
    await asyncio.gather(*sends, return_exceptions=True)


def _written(idempotent: bool, *, acquainted: bool, bugs: frozenset[str] = frozenset()) -> list[str]:
    """What is in the log of a leader whose answers were lost for a while, with a producer that had written to it before,
    or had not."""

    async def work(sim: Simulated) -> list[str]:
        producer = sim.log("k1").producer()
        await sim.on("k1", producer.start())
        for partition in (0, 1) if acquainted else (1,):
            await sim.on("k1", producer.send("output", b"first", partition=partition))
        leader = sim.leader_of("output/0")
        await sim.cluster.cut(leader, "k1", how="drop")
        sending = asyncio.ensure_future(sim.on("k1", _send_all(producer)))
        await asyncio.sleep(4)
        await sim.cluster.heal(leader, "k1")
        await sending
        await sim.on("k1", producer.close())
        return [value for value in await sim.on("k2", read_all(sim.log("k2"), "output")) if value != "first"]

    found: list[str] = simulate(work, bugs=bugs, **PIPELINED, **{"enable.idempotence": idempotent})
    return found


def test_with_idempotence_what_is_sent_again_is_there_once_and_in_order() -> None:
    assert _written(True, acquainted=True) == SENT


def test_a_broker_that_could_not_be_reached_gets_nothing_out_of_order() -> None:
    """Some find no room in time, and are not sent at all."""
    found = _written(True, acquainted=False)
    assert SENT[0] in found
    assert found == [value for value in SENT if value in found]


def test_without_it_is_repeated_and_out_of_order() -> None:
    found = _written(False, acquainted=True)
    assert set(found) == set(SENT)
    assert len(found) > len(SENT)
    assert found != sorted(found)


@pytest.mark.parametrize("bug", ["dedupe-window-too-small", "oos-then-client-epoch-bump"])
def test_a_broker_that_calls_retries_out_of_order_gets_them_once_more(bug: str) -> None:
    found = _written(True, acquainted=True, bugs=frozenset({bug}))
    assert set(found) == set(SENT)
    assert len(found) > len(SENT)
