"""AlterClientQuotas and DescribeClientQuotas (KIP-546). What a quota does to a client is no matter of answers."""

from __future__ import annotations

from ..administration import ANY, DEFAULT, EXACT, alter_quotas, describe_quotas, quotas_settled
from ..session import Answer, Session

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
