"""OffsetFetch at a coordinator that has not replayed its log yet, or coordinates no more: an error, never an offset."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from systems.broker.coordinator_log import OFFSETS

from .fake_broker import FakeBroker
from .test_groups import FETCH, HOME, commit, run, stable


async def fetched(broker: FakeBroker) -> tuple[str, list[int]]:
    topics = [{"name": "orders", "partition_indexes": [0]}]
    answer = await broker.ask(FETCH, 5, group_id="g", topics=topics, require_stable=False)
    return str(answer.error_code.name), [p.committed_offset for t in answer.topics for p in t.partitions]


async def loading(broker: FakeBroker) -> None:
    """The group has committed 7; its new coordinator waits until the log's end is committed."""
    await commit(broker, 7, await stable(broker))
    partition = broker.partitions[OFFSETS, HOME]
    end, partition.high_watermark = partition.log_end_offset, 0
    await broker.fail_over(OFFSETS, HOME)
    assert partition.high_watermark < end


@pytest.mark.parametrize(
    ("bugs", "told"),
    [
        ((), ("coordinator_load_in_progress", [])),
        (("coordinator-serves-while-loading",), ("none", [-1])),
        (("spurious-offset-zero-or-minus-one",), ("none", [-1])),
    ],
)
def test_while_it_loads(bugs: tuple[str, ...], told: Any) -> None:
    async def scenario(broker: FakeBroker) -> None:
        await loading(broker)
        assert await fetched(broker) == told
        partition = broker.partitions[OFFSETS, HOME]
        partition.high_watermark = partition.log_end_offset
        await asyncio.sleep(0.1)
        assert await fetched(broker) == ("none", [7])

    run(scenario, *bugs)


@pytest.mark.parametrize(
    ("bugs", "told"),
    [
        ((), ("not_coordinator", [])),
        (("coordinator-serves-while-loading",), ("not_coordinator", [])),
        (("spurious-offset-zero-or-minus-one",), ("none", [-1])),
    ],
)
def test_at_a_former_one(bugs: tuple[str, ...], told: Any) -> None:
    async def scenario(broker: FakeBroker) -> None:
        await commit(broker, 7, await stable(broker))
        broker.lose(OFFSETS, HOME)
        assert await fetched(broker) == told

    run(scenario, *bugs)
