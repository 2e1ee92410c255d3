"""Our writers against kio's own: the same bytes for every message and version that a broker speaks."""

from __future__ import annotations

import dataclasses
import datetime
import io
import typing
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.serial import entity_writer

from systems.broker import messages
from systems.broker.kio_writing import payload_writer

SPOKEN = {
    0: range(3, 10),
    1: range(4, 18),
    2: range(1, 8),
    3: range(1, 13),
    8: range(2, 9),
    9: range(1, 9),
    10: range(0, 5),
    11: range(0, 10),
    12: range(0, 5),
    13: range(0, 6),
    14: range(0, 6),
    18: range(0, 4),
    19: range(2, 8),
    22: range(0, 6),
    24: range(0, 6),
    25: range(0, 5),
    26: range(0, 6),
    27: range(1, 2),
    28: range(0, 6),
    56: range(2, 4),
    62: range(0, 5),
    63: range(0, 2),
}
_NUMBERS = {
    "int8": (-(1 << 7), (1 << 7) - 1),
    "int16": (-(1 << 15), (1 << 15) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint8": (0, (1 << 8) - 1),
    "uint16": (0, (1 << 16) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}


def primitive(kafka_type: str) -> st.SearchStrategy[Any]:
    if kafka_type in _NUMBERS:
        return st.integers(*_NUMBERS[kafka_type])
    match kafka_type:
        case "string":
            return st.one_of(st.text(max_size=6), st.text(min_size=130, max_size=140))
        case "bytes" | "records":
            return st.one_of(st.binary(max_size=6), st.binary(min_size=130, max_size=140))
        case "bool":
            return st.booleans()
        case "float64":
            return st.floats(allow_nan=False)
        case "uuid":
            return st.one_of(st.none(), st.uuids())
        case "error_code":
            return st.sampled_from(ErrorCode)
        case "timedelta_i32" | "timedelta_i64":
            return st.integers(-(1 << 30), 1 << 30).map(messages.milliseconds)
        case "datetime_i64":
            return st.integers(0, 1 << 41).map(messages.timestamp)
    raise AssertionError(kafka_type)


def value(field: dataclasses.Field[Any], hint: Any) -> st.SearchStrategy[Any]:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        inner = arguments[0]
        items = entity(inner) if dataclasses.is_dataclass(inner) else primitive(field.metadata["kafka_type"])
        return st.lists(items, max_size=3).map(tuple)
    if type(None) in arguments:
        (inner,) = [a for a in arguments if a is not type(None)]
        if inner is uuid.UUID or (field.metadata.get("tag") is not None and inner is not str):
            return value(field, inner)
        return st.one_of(st.none(), value(field, inner))
    if dataclasses.is_dataclass(hint):
        return entity(hint)
    return primitive(field.metadata["kafka_type"])


def entity(schema: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(schema)
    fields = {}
    for field in dataclasses.fields(schema):
        wanted = value(field, hints[field.name])
        if field.metadata.get("tag") is not None:
            wanted = wanted.filter(lambda v: v is not None)
        if field.default is not dataclasses.MISSING:
            wanted = st.one_of(st.just(field.default), wanted)
        fields[field.name] = wanted
    return st.builds(schema, **fields)


def schemas() -> list[Any]:
    found = []
    for api_key, versions in SPOKEN.items():
        for version in versions:
            found += [load_request_schema(api_key, version), load_response_schema(api_key, version)]
    return found


@pytest.mark.parametrize("api_key", SPOKEN)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_the_bytes_are_those_of_kio(api_key: int, data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(SPOKEN[api_key]))
    load = data.draw(st.sampled_from([load_request_schema, load_response_schema]))
    schema = load(api_key, version)
    payload = data.draw(entity(schema))
    expected = io.BytesIO()
    entity_writer(typing.cast(Any, schema))(expected, payload)
    written = bytearray()
    payload_writer(schema)(written, payload)
    assert bytes(written) == expected.getvalue()


def test_no_message_is_left_to_kio() -> None:
    """Otherwise it would be slow and nobody would notice."""
    assert [schema for schema in schemas() if payload_writer(schema).__name__ == "with_kio"] == []


def test_a_timestamp_is_kept_to_the_millisecond() -> None:
    assert messages.timestamp(1_700_000_000_123) == datetime.datetime.fromtimestamp(
        1_700_000_000.123, datetime.UTC
    )
