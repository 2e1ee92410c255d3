"""Whose quota holds (KIP-55): the more specific one, a user's before a client id's."""

from __future__ import annotations

import pytest

from systems.broker.metadata import DEFAULT_ENTITY as ANY
from systems.broker.metadata import (
    MetadataImage,
    QuotaChange,
    QuotaEntity,
    apply_batch,
    decode_image,
    encode_image,
)
from systems.broker.quotas.entities import Quota, quota_of

BY_PRECEDENCE = [
    (QuotaEntity("u", "c"), Quota(1.0, "u", "c")),
    (QuotaEntity("u", ANY), Quota(1.0, "u", "c")),
    (QuotaEntity("u", None), Quota(1.0, "u", "")),
    (QuotaEntity(ANY, "c"), Quota(1.0, "u", "c")),
    (QuotaEntity(ANY, ANY), Quota(1.0, "u", "c")),
    (QuotaEntity(ANY, None), Quota(1.0, "u", "")),
    (QuotaEntity(None, "c"), Quota(1.0, "", "c")),
    (QuotaEntity(None, ANY), Quota(1.0, "", "c")),
]


@pytest.mark.parametrize("place", range(len(BY_PRECEDENCE)))
def test_the_most_specific_quota_holds(place: int) -> None:
    entity, expected = BY_PRECEDENCE[place]
    quotas = {entity: {"rate": 1.0}} | {less: {"rate": 2.0} for less, _ in BY_PRECEDENCE[place + 1 :]}
    assert quota_of("c", "rate", quotas, 3.0, user="u") == expected


def test_an_entity_limits_only_what_it_names() -> None:
    quotas = {QuotaEntity("u", "c"): {"other": 1.0}, QuotaEntity(None, ANY): {"rate": 2.0}}
    assert quota_of("c", "rate", quotas, None, user="u") == Quota(2.0, "", "c")
    assert quota_of("c", "third", quotas, None, user="u") is None
    assert quota_of("c", "third", quotas, 9.0, user="u") == Quota(9.0, "", "c")


def test_quotas_are_metadata() -> None:
    entity, other = QuotaEntity("u", ANY), QuotaEntity(None, "c")
    image = MetadataImage()
    for offset, change in enumerate(
        (
            QuotaChange(entity, {"rate": 1.0}),
            QuotaChange(other, {"rate": 2.0}),
            QuotaChange(entity, {"rate": 3.0, "other": 4.0}),
        )
    ):
        image = apply_batch(image, [change], offset)
    image = decode_image(encode_image(image))
    assert {q.entity: q.values for q in image.quotas} == {
        entity: {"rate": 3.0, "other": 4.0},
        other: {"rate": 2.0},
    }
    assert [q.entity for q in apply_batch(image, [QuotaChange(entity, {})], 3).quotas] == [other]
