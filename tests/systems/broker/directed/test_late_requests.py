"""Requests that arrive later than what was sent after them, from a producer that no library would be: what a
leader must refuse, and what is lost or stuck where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.batches import Producer, batch
from tests.conformance.requests import add_partitions, init_producer_id, produce
from tests.conformance.session import Session
from tests.conformance.transaction_steps import end, stable
from tests.systems.broker.directed.recorded import Recorded
from tests.systems.kafka.simulated import Simulated, simulate

TOPIC = "output"


def session(running: Simulated, host: str = "k1") -> Session:
    cluster = running.cluster
    brokers = [node.name for node in cluster.topology.with_role("broker")]
    return Session("late", [cluster.address(name, client=host) for name in brokers])


@pytest.mark.parametrize(
    ("bug", "expected"),
    [("sequence-gap-accepted", {"lost-write", "inconsistent-offsets"}), (None, set())],
)
def test_a_batch_arrives_after_the_one_behind_it(bug: str | None, expected: set[str]) -> None:
    """Three batches are under way at a time; the second is held up until the third is written. A leader that
    took the third takes the second for an old one, and acknowledges it with another record's offset."""

    async def client(running: Simulated, recorded: Recorded) -> None:
        kafka = session(running)
        producer, _ = await init_producer_id(kafka)

        async def send(sequence: int) -> None:
            value = f"1:{sequence}"
            recorded.begin(1, "send", f"{TOPIC}/0", value)
            answer = await produce(kafka, TOPIC, batch(value, producer=producer, sequence=sequence))
            if answer["error_code"] == "none":
                recorded.end(1, "ok", "send", f"{TOPIC}/0", value, offset=answer["base_offset"])
            else:
                recorded.end(1, "fail", "send", f"{TOPIC}/0", value, error=answer["error_code"])

        for sequence in (0, 2, 1, 3):
            await send(sequence)
        kafka.close()

    assert _named(client, bug, "log") == expected


@pytest.mark.parametrize(
    ("bug", "expected"),
    [("late-produce-after-abort", {"lso-stuck"}), (None, set())],
)
def test_a_record_arrives_after_its_transaction_was_aborted(bug: str | None, expected: set[str]) -> None:
    """Where the leader asks nobody, it opens a transaction that no coordinator knows and nobody will end."""

    async def client(running: Simulated, recorded: Recorded) -> None:
        kafka = session(running)
        producer, _ = await init_producer_id(kafka, "t", version=4)
        await add_partitions(kafka, "t", producer, {TOPIC: [0]})
        recorded.begin_transaction(1, "1.0")
        first = await _send(kafka, producer, 0, "0@0=a by 1.0 1/2")
        await end(kafka, producer, commit=False, version=3, transactional_id="t")
        await stable(kafka, TOPIC)
        recorded.end_transaction(1, "1.0", "fail", [first, ["output/0", None, "0@1=b by 1.0 2/2"]])
        await _send(kafka, producer, 1, "0@1=b by 1.0 2/2")
        kafka.close()

    assert _named(client, bug, "log", patience_s=25.0) == expected


async def _send(kafka: Session, producer: Producer, sequence: int, value: str) -> list[Any]:
    records = batch(value, producer=producer, sequence=sequence, transactional=True)
    answer = await produce(kafka, TOPIC, records, version=8, transactional_id="t")
    return [f"{TOPIC}/0", answer.get("base_offset"), value]


def _named(client: Any, bug: str | None, *checkers: str, patience_s: float = 0.0) -> set[str]:
    async def scenario(running: Simulated) -> set[str]:
        recorded = Recorded(running)
        await running.on("k1", client(running, recorded))
        await recorded.read_back(TOPIC, patience_s=patience_s)
        return recorded.anomalies(*checkers)

    named: set[str] = simulate(
        scenario,
        bugs=frozenset() if bug is None else frozenset({bug}),
        **{"transaction.version": 1},
    )
    return named
