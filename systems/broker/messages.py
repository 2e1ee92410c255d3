"""Kafka messages of any version, built from plain data.

kio has one class per message *and version*; a handler that serves ten versions would repeat itself ten
times. `response` and `request` take the fields of the newest version, drop those which an older one does
not have, and build nested structures from mappings:

    response(context, error_code=code, members=[{"member_id": m.id, "metadata": m.metadata}])
"""

from __future__ import annotations

import dataclasses
import datetime
import struct
import typing
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from kio.index import load_request_schema, load_response_schema
from kio.static.primitive import i32Timedelta

from systems.broker.context import RequestContext
from systems.broker.wire import Encoded

_INT32 = struct.Struct(">i")
_NO_THROTTLE: dict[str, Any] = {"throttle_time": i32Timedelta.parse(datetime.timedelta(0))}


def response(context: RequestContext, /, **fields: Any) -> Any:
    """The response payload to that request, in its version. Raises TypeError for a missing field."""
    return _build(_response_schema(context.api_key, context.version), _NO_THROTTLE | fields)


def with_throttle_time(payload: Any, throttle_ms: int) -> Any:
    """The same response, which says so; as it is where its version cannot."""
    if type(payload) is Encoded:
        return payload._replace(body=_INT32.pack(throttle_ms) + payload.body[_INT32.size :])
    schema: Any = type(payload)
    if "throttle_time" not in _shape(schema):
        return payload
    return dataclasses.replace(payload, throttle_time=milliseconds(throttle_ms))


def request(api_key: int, version: int, /, **fields: Any) -> Any:
    """A request payload. Raises TypeError for a missing field."""
    return _build(_request_schema(api_key, version), fields)


def milliseconds(value: int) -> Any:
    """A duration as kio wants it."""
    return i32Timedelta.parse(datetime.timedelta(milliseconds=value))


def timestamp(value_ms: int) -> datetime.datetime | None:
    """A point in time as kio wants it; -1 is none."""
    if value_ms < 0:
        return None
    return datetime.datetime.fromtimestamp(value_ms / 1000, datetime.UTC)


def topic_id(value: bytes | None) -> uuid.UUID | None:
    """A topic's id as kio wants it."""
    return uuid.UUID(bytes=value) if value else None


def in_milliseconds(value: datetime.timedelta) -> int:
    return value // datetime.timedelta(milliseconds=1)


_request_schema = cache(load_request_schema)
_response_schema = cache(load_response_schema)


def _build(schema: Any, fields: Mapping[str, Any]) -> Any:
    shape = _shape(schema)
    arguments = {}
    for name, value in fields.items():
        if name in shape:
            convert = shape[name]
            arguments[name] = value if convert is None else convert(value)
    return schema(**arguments)


@cache
def _shape(schema: Any) -> dict[str, Callable[[Any], Any] | None]:
    hints = typing.get_type_hints(schema)
    return {f.name: _converter(hints[f.name]) for f in dataclasses.fields(schema)}


def _converter(hint: Any) -> Callable[[Any], Any] | None:
    """How a plain value becomes what a field of that type holds; None where it is that already."""
    if dataclasses.is_dataclass(hint):
        return lambda value: _build(hint, value)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        inner = arguments[0]
        if dataclasses.is_dataclass(inner):
            return lambda values: tuple(_build(inner, value) for value in values)
        return tuple
    if arguments:  # `X | None`
        inner = _converter(next(a for a in arguments if a is not type(None)))
        return None if inner is None else (lambda value: None if value is None else inner(value))
    return None
