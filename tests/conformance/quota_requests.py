"""Quotas of clients, altered and described: requests as in `requests.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kio.schema.errors import ErrorCode

from .session import Session, settled

DESCRIBE_CLIENT_QUOTAS, ALTER_CLIENT_QUOTAS = 48, 49
EXACT, DEFAULT, ANY = range(3)

Entity = Mapping[str, str | None]
"""`client-id` or `user` -> a name, or None for whoever has none of his own."""


async def alter_quotas(
    kafka: Session, entity: Entity, quotas: Mapping[str, float | None], *, validate_only: bool = False
) -> Any:
    """A quota of None is removed."""
    answer = await kafka.ask(
        kafka.any_node,
        ALTER_CLIENT_QUOTAS,
        1,
        entries=[
            {
                "entity": [{"entity_type": kind, "entity_name": name} for kind, name in entity.items()],
                "ops": [
                    {"key": key, "value": 0.0 if value is None else value, "remove": value is None}
                    for key, value in quotas.items()
                ],
            }
        ],
        validate_only=validate_only,
    )
    (entry,) = answer.entries
    return kafka.plain(entry.error_code)


async def describe_quotas(
    kafka: Session, *components: tuple[str, int, str | None], strict: bool = False
) -> Any:
    """Each component is (entity type, how it matches, name)."""
    answer = await kafka.ask(
        kafka.any_node,
        DESCRIBE_CLIENT_QUOTAS,
        1,
        components=[
            {"entity_type": kind, "match_type": match, "match": name} for kind, match, name in components
        ],
        strict=strict,
    )
    if answer.error_code != ErrorCode.none:
        return kafka.plain(answer.error_code)
    return sorted(
        (
            [
                {
                    part.entity_type: part.entity_name
                    for part in sorted(e.entity, key=lambda p: p.entity_type)
                },
                {value.key: value.value for value in sorted(e.values, key=lambda v: v.key)},
            ]
            for e in answer.entries
        ),
        key=str,
    )


async def quotas_settled(kafka: Session, entity: Entity, quotas: Mapping[str, float]) -> None:
    """Returns once every node has heard that these are the entity's."""
    await kafka.metadata()

    async def known() -> bool | None:
        for node in kafka.nodes:
            answer = await kafka.ask(
                node,
                DESCRIBE_CLIENT_QUOTAS,
                1,
                components=[
                    {
                        "entity_type": kind,
                        "match_type": DEFAULT if name is None else EXACT,
                        "match": name,
                    }
                    for kind, name in entity.items()
                ],
                strict=True,
            )
            found = {value.key: value.value for entry in answer.entries or () for value in entry.values}
            if found != dict(quotas):
                return None
        return True

    await settled(known, f"{entity} does not get {quotas}")
