"""Directed schedules on whole brokers: what must not be lost, and is with the mistake switched on.

S4 and S5 as in the bug catalogue (KIP-966 and KIP-903), and recovery where everybody went down uncleanly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from systems.broker.alter_partition import IsrProposals
from systems.broker.isr import Isr
from systems.broker.leader import Leader
from systems.broker.system import BrokerSystem
from tests.systems.kafka.simulated import Simulated, read_all, simulate

RECORDS = 6
PARTITION = "input/0"
BROKERS = ("b1", "b2", "b3")


async def produce(running: Simulated, prefix: str = "v", host: str = "k1") -> list[str]:
    """Records that every replica in sync has when this returns; none of them is flushed. A replica that is
    cut off holds them up until it has left the ISR."""
    sent = [f"{prefix}{n}" for n in range(RECORDS)]

    async def client() -> None:
        producer = running.log(host).producer()
        await producer.start()
        for value in sent:
            await producer.send("input", value.encode(), partition=0)
        await producer.close()

    await running.on(host, client())
    return sent


async def until(running: Simulated, kind: str, **fields: Any) -> dict[str, Any]:
    """The newest event of that kind if it says so, as soon as it does."""
    while True:
        of_partition = [e for e in running.events(kind) if e.get("partition", PARTITION) == PARTITION]
        if of_partition and all(of_partition[-1][key] == value for key, value in fields.items()):
            return of_partition[-1]
        await asyncio.sleep(0.1)


async def replicas(running: Simulated) -> list[str]:
    """In the order in which they are elected; the first one leads."""
    names: list[str] = (await until(running, "leader-elected"))["replicas"]
    return names


async def cut(running: Simulated, one: str, other: str) -> None:
    await running.cluster.cut(one, other, how="drop")
    await running.cluster.cut(other, one, how="drop")


async def heal(running: Simulated, one: str, other: str) -> None:
    await running.cluster.heal(one, other)
    await running.cluster.heal(other, one)


async def read_back(running: Simulated) -> list[str]:
    await BrokerSystem().recovered(running.cluster)
    found: list[str] = await running.on("k2", read_all(running.log("k2"), "input"))
    return found


def s4(bugs: frozenset[str] = frozenset(), seed: int = 1) -> tuple[list[str], list[str]]:
    """(acknowledged, read back) after the last replica standing lost its log."""

    async def scenario(running: Simulated) -> tuple[list[str], list[str]]:
        leader, first, second = await replicas(running)
        sent = await produce(running)
        await cut(running, leader, first)
        sent += await produce(running, "w")
        await cut(running, leader, second)
        unknown = asyncio.ensure_future(produce(running, "unknown", "k3"))
        await until(running, "isr-shrunk", isr=[leader])
        await running.cluster.client_host("k3").kill()
        with pytest.raises(ConnectionAbortedError):
            await unknown
        await running.cluster.power_fail(leader)
        await running.cluster.restart(leader)
        await asyncio.sleep(6)
        await heal(running, leader, first)
        await heal(running, leader, second)
        return sent, await read_back(running)

    result: tuple[list[str], list[str]] = simulate(scenario, seed=seed, bugs=bugs)
    return result


@pytest.mark.parametrize("seed", range(3))
def test_s4_the_last_replica_standing_is_not_believed(seed: int) -> None:
    sent, found = s4(seed=seed)
    assert found[: len(sent)] == sent


def test_s4_without_eligible_replicas_what_it_lost_is_lost_everywhere() -> None:
    sent, found = s4(frozenset({"last-replica-standing"}))
    assert not set(sent) <= set(found)


def s5(
    monkeypatch: pytest.MonkeyPatch, bugs: frozenset[str] = frozenset(), seed: int = 1
) -> tuple[list[str], list[str]]:
    """(acknowledged, read back) after the controller heard of a replica that had caught up only when that
    one had lost its log again."""
    held = Held(monkeypatch)

    async def scenario(running: Simulated) -> tuple[list[str], list[str]]:
        leader, restarted, other = await replicas(running)
        await cut(running, leader, restarted)
        sent = await produce(running)
        assert (await until(running, "isr-shrunk"))["isr"] == sorted((leader, other))
        held.hold()
        await heal(running, leader, restarted)
        await held.proposal.wait()
        await running.cluster.power_fail(restarted)
        await cut(running, leader, restarted)
        await running.cluster.restart(restarted)
        await asyncio.sleep(6)
        held.release()
        await asyncio.sleep(1)
        await running.cluster.kill(leader)
        await asyncio.sleep(5)
        await running.cluster.restart(leader)
        await heal(running, leader, restarted)
        return sent, await read_back(running)

    result: tuple[list[str], list[str]] = simulate(scenario, seed=seed, bugs=bugs)
    return result


class Held:
    """Keeps proposals for the partition from leaving, between `hold` and `release`. Since the follower is
    cut off meanwhile, they say the same when they leave as when they were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proposal = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        send = IsrProposals._send

        async def delayed(proposals: IsrProposals, batch: list[tuple[Leader, Isr]]) -> bool:
            if any(leader.name == PARTITION for leader, _ in batch) and not self._open.is_set():
                self.proposal.set()
                await self._open.wait()
            return await send(proposals, batch)

        monkeypatch.setattr(IsrProposals, "_send", delayed)

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()


@pytest.mark.parametrize("seed", range(3))
def test_s5_who_restarted_since_does_not_join_on_an_old_fetch(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    sent, found = s5(monkeypatch, seed=seed)
    assert found == sent


def test_s5_without_broker_epochs_a_replica_joins_that_lost_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, found = s5(monkeypatch, frozenset({"stale-broker-epoch-isr-join"}))
    assert not set(sent) <= set(found)


@pytest.mark.parametrize("lossy", BROKERS)
def test_when_everybody_goes_down_one_of_them_lossy_the_fullest_log_wins(lossy: str) -> None:
    async def scenario(running: Simulated) -> tuple[list[str], list[str], list[str]]:
        sent = await produce(running)
        for broker in BROKERS:
            await (running.cluster.power_fail if broker == lossy else running.cluster.kill)(broker)
        await asyncio.sleep(5)
        for broker in BROKERS:
            await running.cluster.restart(broker)
        found = await read_back(running)
        return sent, found, [e["reason"] for e in running.events("partition-changed")]

    sent, found, reasons = simulate(scenario)
    assert found == sent
    assert "recovered" in reasons
    assert "unclean-elected" not in reasons
