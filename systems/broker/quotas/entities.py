"""Whose quota holds for a client: users, client ids, both, and the defaults of those who have none (KIP-55, KIP-546)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from systems.broker.metadata import DEFAULT_ENTITY, QuotaEntity

PRODUCER_BYTE_RATE: Final = "producer_byte_rate"
CONSUMER_BYTE_RATE: Final = "consumer_byte_rate"
REQUEST_PERCENTAGE: Final = "request_percentage"
USER: Final = "user"
CLIENT_ID: Final = "client-id"
ANONYMOUS: Final = "ANONYMOUS"
"""Everybody's user on a listener without authentication."""


class Quota(NamedTuple):
    """A bound, and who shares it: all connections of one user, of one client id, or of one client id of a user."""

    bound: float
    user: str
    client_id: str


def quota_of(
    client_id: str,
    key: str,
    quotas: Mapping[QuotaEntity, Mapping[str, float]],
    otherwise: float | None,
    user: str = ANONYMOUS,
) -> Quota | None:
    """The most specific one; `otherwise` is every client id's without one. None: unlimited."""
    for entity in (
        QuotaEntity(user, client_id),
        QuotaEntity(user, DEFAULT_ENTITY),
        QuotaEntity(user, None),
        QuotaEntity(DEFAULT_ENTITY, client_id),
        QuotaEntity(DEFAULT_ENTITY, DEFAULT_ENTITY),
        QuotaEntity(DEFAULT_ENTITY, None),
        QuotaEntity(None, client_id),
        QuotaEntity(None, DEFAULT_ENTITY),
    ):
        bound = quotas.get(entity, {}).get(key)
        if bound is not None:
            return Quota(
                bound,
                user if entity.user is not None else "",
                client_id if entity.client_id is not None else "",
            )
    return None if otherwise is None else Quota(otherwise, "", client_id)
