"""AlterClientQuotas and DescribeClientQuotas (KIP-546), and how long a client is told to wait (KIP-219)."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

from ..batches import batch
from ..quota_requests import ANY, DEFAULT, EXACT, alter_quotas, describe_quotas, quotas_settled
from ..requests import (
    FETCH,
    LATEST,
    METADATA,
    PRODUCE,
    READ_UNCOMMITTED,
    fetch_fields,
    list_offsets,
    produce,
)
from ..session import Answer, Session, settled

_FIVE_SECONDS = datetime.timedelta(seconds=5)
PRODUCER, CONSUMER, REQUESTS = "producer_byte_rate", "consumer_byte_rate", "request_percentage"


async def set_and_removed(kafka: Session) -> Answer:
    client = {"client-id": kafka.own("c")}
    answers: Answer = {"none": await describe_quotas(kafka, ("client-id", EXACT, kafka.own("c")))}
    answers["set"] = await alter_quotas(kafka, client, {PRODUCER: 1000.0, CONSUMER: 2000.0})
    await quotas_settled(kafka, client, {PRODUCER: 1000.0, CONSUMER: 2000.0})
    answers["they are"] = await describe_quotas(kafka, ("client-id", EXACT, kafka.own("c")))
    answers["changed and removed"] = await alter_quotas(kafka, client, {PRODUCER: 1500.0, CONSUMER: None})
    await quotas_settled(kafka, client, {PRODUCER: 1500.0})
    answers["left"] = await describe_quotas(kafka, ("client-id", EXACT, kafka.own("c")))
    answers["only validated"] = await alter_quotas(kafka, client, {REQUESTS: 50.0}, validate_only=True)
    answers["the last removed"] = await alter_quotas(kafka, client, {PRODUCER: None})
    await quotas_settled(kafka, client, {})
    answers["gone"] = await describe_quotas(kafka, ("client-id", EXACT, kafka.own("c")))
    answers["removed again"] = await alter_quotas(kafka, client, {PRODUCER: None})
    return answers


async def what_is_refused(kafka: Session) -> Answer:
    client = {"client-id": kafka.own("c")}
    return {
        "an unknown key": await alter_quotas(kafka, client, {"no_such_rate": 1.0}),
        "negative": await alter_quotas(kafka, client, {PRODUCER: -1.0}),
        "zero": await alter_quotas(kafka, client, {PRODUCER: 0.0}),
        "half a byte": await alter_quotas(kafka, client, {PRODUCER: 1.5}),
        "half a percent": await alter_quotas(kafka, client, {REQUESTS: 0.5}),
        "no such kind": await alter_quotas(kafka, {"planet": "earth"}, {PRODUCER: 1.0}),
        "nobody": await alter_quotas(kafka, {}, {PRODUCER: 1.0}),
        "an empty name": await alter_quotas(kafka, {"client-id": ""}, {PRODUCER: 1.0}),
        "an address and a client": await alter_quotas(kafka, {"ip": "1.2.3.4", **client}, {PRODUCER: 1.0}),
        "bytes of an address": await alter_quotas(kafka, {"ip": "1.2.3.4"}, {PRODUCER: 1.0}),
        "connections of a client": await alter_quotas(kafka, client, {"connection_creation_rate": 1.0}),
        "mutations": await alter_quotas(kafka, client, {"controller_mutation_rate": 1.0}, validate_only=True),
        "nothing to do": await alter_quotas(kafka, client, {}),
    }


async def found_by_kind(kafka: Session) -> Answer:
    """Everything named: a cluster keeps other scripts' quotas too."""
    client, other = kafka.own("c"), kafka.own("d")
    both = {"user": kafka.own("u"), "client-id": client}
    by_default = {"user": kafka.own("u"), "client-id": None}
    wanted = (
        ({"client-id": client}, 1.0),
        ({"client-id": other}, 2.0),
        ({"user": kafka.own("u")}, 3.0),
        (both, 4.0),
        (by_default, 5.0),
    )
    for entity, rate in wanted:
        await alter_quotas(kafka, entity, {PRODUCER: rate})
        await quotas_settled(kafka, entity, {PRODUCER: rate})
    user = ("user", EXACT, kafka.own("u"))

    async def own(*components: tuple[str, int, str | None], strict: bool = False) -> object:
        found = await describe_quotas(kafka, *components, strict=strict)
        if not isinstance(found, list):
            return found
        return [e for e in found if any(n and n.startswith(kafka.own("")) for n in e[0].values())]

    answers = {
        "the client": await own(("client-id", EXACT, client)),
        "the client alone": await own(("client-id", EXACT, client), strict=True),
        "the user": await own(user),
        "the user alone": await own(user, strict=True),
        "the user's client": await own(user, ("client-id", EXACT, client)),
        "the user's default": await own(user, ("client-id", DEFAULT, None)),
        "any client of the user": await own(user, ("client-id", ANY, None)),
        "any client, alone": await own(("client-id", ANY, None), strict=True),
        "the user twice": await own(user, user),
        "no such kind": await own(("planet", ANY, None)),
        "an address": await own(("ip", ANY, None)),
        "a default with a name": await own(("client-id", DEFAULT, "x")),
        "no such match": await own(("client-id", 7, "x")),
        "exactly nobody": await own(("client-id", EXACT, None)),
        "no components": await own(strict=True),
    }
    for entity, _ in wanted:
        await alter_quotas(kafka, entity, {PRODUCER: None})
    return answers


async def everybody_elses(kafka: Session) -> Answer:
    """The default of all who have none of their own."""
    anybody: dict[str, str | None] = {"client-id": None}
    await alter_quotas(kafka, anybody, {CONSUMER: 5e9})
    await quotas_settled(kafka, anybody, {CONSUMER: 5e9})
    found = await describe_quotas(kafka, ("client-id", DEFAULT, None), strict=True)
    await alter_quotas(kafka, anybody, {CONSUMER: None})
    await quotas_settled(kafka, anybody, {})
    return {
        "found": found,
        "removed": await describe_quotas(kafka, ("client-id", DEFAULT, None), strict=True),
    }


async def a_producer_that_sends_too_much(kafka: Session) -> Answer:
    """Fifty seconds' worth at once, ten of which are free: answered at once, and the records are there."""
    topic = await kafka.create_topic("t")
    node = await kafka.leader(topic)
    await _limited(kafka, "limited", {PRODUCER: 1000.0})
    wanted = {"index": 0, "records": batch("x" * 50_000)}
    answer, at_once = await _timed(
        kafka.ask(
            node,
            PRODUCE,
            9,
            lane="limited",
            transactional_id=None,
            acks=-1,
            timeout=_FIVE_SECONDS,
            topic_data=[{"name": topic, "partition_data": [wanted]}],
        )
    )
    muted = await _timed(_metadata(kafka, node, "limited"))
    return {
        "error": kafka.plain(answer.responses[0].partition_responses[0].error_code),
        "answered at once": at_once,
        "throttled for seconds": round(answer.throttle_time.total_seconds()),
        "the next request waits": muted == (None, False),
        "others do not": (await list_offsets(kafka, topic, LATEST))["offset"],
    }


async def a_consumer_that_fetches_too_much(kafka: Session) -> Answer:
    """It is sent nothing, and what it was not sent does not count."""
    topic = await kafka.create_topic("t")
    node = await kafka.leader(topic)
    await _limited(kafka, "limited", {CONSUMER: 1000.0})
    await produce(kafka, topic, batch("x" * 50_000))
    answer, at_once = await _timed(_fetch(kafka, node, topic, 0))
    return {
        "answered at once": at_once,
        "throttled for seconds": round(answer.throttle_time.total_seconds()),
        "what it got": [len(each.partitions) for each in answer.responses],
    }


async def a_consumer_is_sent_no_more_than_is_free(kafka: Session) -> Answer:
    """Ten seconds' worth, however much there is and fits."""
    topic = await kafka.create_topic("t")
    node = await kafka.leader(topic)
    await _limited(kafka, "limited", {CONSUMER: 1000.0})
    for _ in range(6):
        await produce(kafka, topic, batch("x" * 3_000))

    async def fetched() -> Any:
        """Kafka cuts batches off where the limit is; with the rest of the answer that may be too much at first."""
        answer = await _fetch(kafka, node, topic, 0)
        return answer if answer.responses else None

    answer = await settled(fetched, "nothing is ever sent")
    size = len(answer.responses[0].partitions[0].records)
    return {"three batches and no fourth": 9_000 < size <= 10_000}


async def _limited(kafka: Session, lane: str, quotas: dict[str, float]) -> None:
    client = {"client-id": kafka.client_id(lane)}
    await alter_quotas(kafka, client, quotas)
    await quotas_settled(kafka, client, quotas)


async def _timed(answer: Any) -> tuple[Any, bool]:
    """The answer, and whether it came within five seconds; None where it did not."""
    try:
        async with asyncio.timeout(5):
            return await answer, True
    except TimeoutError:
        return None, False


async def _metadata(kafka: Session, node: int, lane: str) -> Any:
    return await kafka.ask(
        node,
        METADATA,
        9,
        lane=lane,
        topics=[],
        allow_auto_topic_creation=False,
        include_cluster_authorized_operations=False,
        include_topic_authorized_operations=False,
    )


async def _fetch(kafka: Session, node: int, topic: str, offset: int) -> Any:
    wanted = {
        "partition": 0,
        "current_leader_epoch": -1,
        "fetch_offset": offset,
        "last_fetched_epoch": -1,
        "log_start_offset": -1,
        "partition_max_bytes": 10_000_000,
    }
    return await kafka.ask(
        node,
        FETCH,
        12,
        lane="limited",
        **fetch_fields(0, READ_UNCOMMITTED),
        replica_id=-1,
        topics=[{"topic": topic, "partitions": [wanted]}],
    )
