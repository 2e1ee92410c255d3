"""Well-formed requests of every API and version that a broker serves, filled at random."""

from __future__ import annotations

import dataclasses
import datetime
import random
import typing
import uuid
from collections.abc import Mapping
from typing import Any

from kio.index import load_request_schema
from kio.schema.errors import ErrorCode

from systems.broker.coordinators import coordinator_services
from systems.broker.requests import (
    admin,
    api_versions,
    client_quotas,
    configs,
    delete_records,
    describing,
    fetch,
    forwarding,
    list_offsets,
    log_dirs,
    metadata,
    produce,
    topic_partitions,
    unconfigured,
)
from systems.broker.wire import encode_request
from tests.systems.broker.coordination.fake_broker import FakeBroker

NAMES = ("", "t", "input", "__consumer_offsets", "no such topic", "x" * 300)
NUMBERS = (-2, -1, 0, 1, 2, 100, 127)
BYTES = (b"", b"\0" * 12, b"\xff" * 70)


def request_frame(rng: random.Random, api_key: int, version: int) -> bytes:
    """Without its length."""
    payload = _filled(rng, load_request_schema(api_key, version))
    return encode_request(payload, rng.randrange(1 << 31), rng.choice((None, "", "me")))[4:]


def mutated(rng: random.Random, frame: bytes) -> bytes:
    """With a few bytes of it changed, taken out, put in, or its end cut off."""
    data = bytearray(frame)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(4, max(len(data), 5))
        match rng.randrange(4):
            case 0 if at < len(data):
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 1:
                data[at : at + rng.randint(1, 8)] = rng.randbytes(rng.randint(0, 8))
            case 2:
                data[at : at + 4] = rng.choice((b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0"))
            case _:
                del data[at:]
    return bytes(data)


def served() -> Mapping[int, range]:
    """Every API of a broker, and its versions."""
    broker: Any = FakeBroker()
    replicas: Any = None
    quotas: Any = None
    services = (
        api_versions.ApiVersions(broker, dict),
        metadata.Metadata(broker),
        produce.Produce(broker, replicas, quotas),
        fetch.Fetch(broker, replicas, quotas),
        list_offsets.ListOffsets(broker, replicas),
        delete_records.DeleteRecords(broker, replicas),
        admin.Admin(broker),
        configs.Configs(broker),
        forwarding.Forwarding(broker),
        describing.Describing(broker, replicas),
        client_quotas.DescribingQuotas(broker),
        topic_partitions.TopicPartitions(broker),
        log_dirs.LogDirs(broker, replicas),
        unconfigured.Unconfigured(),
        *coordinator_services(broker),
    )
    return {key: versions for service in services for key, (versions, _) in service.handlers().items()}


def _filled(rng: random.Random, schema: Any) -> Any:
    hints = typing.get_type_hints(schema)
    return schema(**{f.name: _value(rng, hints[f.name]) for f in dataclasses.fields(schema)})


def _value(rng: random.Random, hint: Any) -> Any:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return tuple(_value(rng, arguments[0]) for _ in range(rng.randint(0, 3)))
    if arguments:
        if rng.random() < 0.3:
            return None
        return _value(rng, next(a for a in arguments if a is not type(None)))
    if dataclasses.is_dataclass(hint):
        return _filled(rng, hint)
    base = getattr(hint, "__supertype__", hint)
    while getattr(base, "__supertype__", None) is not None:
        base = base.__supertype__
    if base is bool:
        return rng.random() < 0.5
    if base is ErrorCode:
        return ErrorCode.none
    for kind, choices in _CHOICES:
        if issubclass(base, kind):
            return rng.choice(choices)
    raise AssertionError(f"a field of type {hint}")


_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_CHOICES: tuple[tuple[type, tuple[Any, ...]], ...] = (
    (str, NAMES),
    (bytes, BYTES),
    (float, (0.0, 1.5)),
    (uuid.UUID, (uuid.UUID(int=1), uuid.UUID(int=2))),
    (datetime.timedelta, (datetime.timedelta(0), datetime.timedelta(milliseconds=50))),
    (datetime.datetime, (_NOW,)),
    (int, NUMBERS),
)
