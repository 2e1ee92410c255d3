"""The Kafka protocol on a byte stream: frames, headers, and what kio knows of every message.

`server.py` answers requests, `channel.py` sends them. One frame is a 32-bit length, a header (key, version,
correlation id, client id; or the correlation id alone in a response) and a kio payload.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

from kio.index import KioIndexError, load_request_schema, load_response_schema
from kio.serial import entity_reader

from systems.broker.absent_arrays import Check, absent_array
from systems.broker.array_lengths import Step, plausible_arrays, unsigned_varint
from systems.broker.kio_writing import Writer, payload_writer
from systems.broker.log.stored import Records, StoredRecords
from systems.broker.unknown_tags import without_unknown_tags

MAX_FRAME_BYTES = 104_857_600
"""Kafka's `socket.request.max.bytes`: a longer (or negative) length is not a Kafka client."""

_LENGTH = struct.Struct(">i")
_REQUEST_HEADER = struct.Struct(">hhih")
_REQUEST_FRAME = struct.Struct(">ihhih")
_RESPONSE_FRAME = struct.Struct(">ii")


class WireError(Exception):
    """Bytes that are no message of this protocol; the message says what was wrong."""


class Request(NamedTuple):
    """A decoded request: its header's fields and the kio payload."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str | None
    payload: Any


class Encoded(NamedTuple):
    """A payload that its maker has already written: `body` is what follows the header."""

    api_key: int
    version: int
    flexible_header: bool
    body: bytes

    @property
    def size(self) -> int:
        """Of the body."""
        return len(self.body)


class Streamed(NamedTuple):
    """The same, with parts of the body still in files."""

    api_key: int
    version: int
    flexible_header: bool
    parts: tuple[Records, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))


class _RequestCodec(NamedTuple):
    read: Callable[[bytes, int], tuple[Any, int]]
    flexible: bool
    absent: Check | None
    plausible: Step | None


@cache
def _request_codec(api_key: int, version: int) -> _RequestCodec:
    schema = load_request_schema(api_key, version)
    return _RequestCodec(
        entity_reader(cast(Any, schema)), schema.__flexible__, absent_array(schema), plausible_arrays(schema)
    )


@cache
def _response_reader(api_key: int, version: int) -> tuple[Callable[[bytes, int], tuple[Any, int]], bool]:
    """The payload's reader, and whether its header carries tagged fields (never for ApiVersions)."""
    schema = load_response_schema(api_key, version)
    return entity_reader(cast(Any, schema)), schema.__header_schema__.__flexible__


_writers: dict[type[Any], tuple[Writer, bool]] = {}


def _writer(schema: type[Any]) -> tuple[Writer, bool]:
    """The payload's writer, and whether its header carries tagged fields."""
    known = _writers.get(schema)
    if known is None:
        known = _writers[schema] = (payload_writer(cast(Any, schema)), schema.__header_schema__.__flexible__)
    return known


def encode_request(payload: Any, correlation_id: int, client_id: str | None) -> bytes:
    """A whole frame, length included."""
    name = client_id.encode() if client_id is not None else b""
    if type(payload) is Encoded:
        api_key, version, flexible_header, body = payload
        length = len(name) if client_id is not None else -1
        size = _REQUEST_HEADER.size + len(name) + flexible_header + len(body)
        header = _REQUEST_FRAME.pack(size, api_key, version, correlation_id, length)
        return b"".join((header, name, b"\0" if flexible_header else b"", body))
    write, flexible_header = _writer(type(payload))
    length = len(name) if client_id is not None else -1
    frame = bytearray(
        _REQUEST_FRAME.pack(0, payload.__api_key__, payload.__version__, correlation_id, length)
    )
    frame += name
    if flexible_header:
        frame.append(0)
    write(frame, payload)
    _LENGTH.pack_into(frame, 0, len(frame) - 4)
    return bytes(frame)


def decode_header(frame: bytes) -> tuple[int, int, int, str | None, int]:
    """(API key, version, correlation id, client id, where the client id ends) of a request without its
    length. Raises `WireError`."""
    try:
        api_key, version, correlation_id, length = _REQUEST_HEADER.unpack_from(frame)
        end = _REQUEST_HEADER.size + max(length, 0)
        if end > len(frame):
            raise WireError("the client id is longer than the request")
        client_id = frame[_REQUEST_HEADER.size : end].decode() if length >= 0 else None
    except (struct.error, UnicodeDecodeError) as error:
        raise WireError(f"no request header: {error}") from None
    return api_key, version, correlation_id, client_id, end


def decode_request(frame: bytes) -> Request:
    """A request without its length. Raises `WireError` for an unknown API or version and for bad bytes."""
    return decode_body(frame, decode_header(frame))


def decode_body(frame: bytes, header: tuple[int, int, int, str | None, int]) -> Request:
    api_key, version, correlation_id, client_id, position = header
    try:
        codec = _request_codec(api_key, version)
    except KioIndexError:
        raise WireError(f"unknown API {api_key} version {version}") from None
    try:
        if codec.flexible:
            position = _skip_tags(frame, position)
        if codec.plausible is not None:
            codec.plausible(frame, position)
        payload = _read(codec, api_key, version, frame, position)
    except Exception as error:
        # kio and its native readers raise many kinds; whatever they are, the bytes are to blame.
        raise WireError(f"undecodable API {api_key} version {version}: {error!r}") from None
    if codec.absent is not None and (name := codec.absent(payload)) is not None:
        raise WireError(f"API {api_key} version {version} without its {name}")
    return Request(api_key, version, correlation_id, client_id, payload)


def _read(codec: _RequestCodec, api_key: int, version: int, frame: bytes, position: int) -> Any:
    try:
        return codec.read(frame, position)[0]
    except KeyError:
        # A tagged field that kio does not know. Nearly no request has one: it is looked for only now.
        clean = without_unknown_tags(load_request_schema(api_key, version))
        return codec.read(clean(frame, position), 0)[0]


def encode_response(payload: Any, correlation_id: int) -> bytes:
    """A whole frame, length included."""
    if type(payload) is Streamed:
        parts = encode_in_parts(payload, correlation_id)
        return b"".join(part.read() if isinstance(part, StoredRecords) else part for part in parts)
    if type(payload) is Encoded:
        _, _, flexible_header, body = payload
        header = _RESPONSE_FRAME.pack(4 + flexible_header + len(body), correlation_id)
        return b"".join((header, b"\0" if flexible_header else b"", body))
    write, flexible_header = _writer(type(payload))
    frame = bytearray(_RESPONSE_FRAME.pack(0, correlation_id))
    if flexible_header:
        frame.append(0)
    write(frame, payload)
    _LENGTH.pack_into(frame, 0, len(frame) - 4)
    return bytes(frame)


def encode_in_parts(payload: Streamed, correlation_id: int) -> tuple[Records, ...]:
    """The same frame with what is in files left there."""
    size = 4 + payload.flexible_header + payload.size
    header = _RESPONSE_FRAME.pack(size, correlation_id) + (b"\0" if payload.flexible_header else b"")
    return (header, *payload.parts)


def decode_response(frame: bytes, api_key: int, version: int) -> tuple[int, Any]:
    """(correlation id, kio payload) of a response without its length."""
    read, flexible_header = _response_reader(api_key, version)
    try:
        (correlation_id,) = _LENGTH.unpack_from(frame)
        position = _skip_tags(frame, 4) if flexible_header else 4
        payload, _ = read(frame, position)
    except Exception as error:
        raise WireError(f"undecodable response to API {api_key} version {version}: {error!r}") from None
    return correlation_id, payload


def _skip_tags(frame: bytes, position: int) -> int:
    count, position = unsigned_varint(frame, position)
    for _ in range(count):
        _, position = unsigned_varint(frame, position)
        size, position = unsigned_varint(frame, position)
        position += size
    return position


class Frames:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now, without their lengths. Raises `WireError` for a bad length."""
        source: bytes | bytearray = data
        if not self._rest and len(data) > 4 and _LENGTH.unpack_from(data)[0] == len(data) - 4:
            # As nearly always: exactly one.
            return [data[4:]]
        if self._rest:
            self._rest += data
            source = self._rest
        frames: list[bytes] = []
        position, available = 0, len(source)
        while available - position >= 4:
            (length,) = _LENGTH.unpack_from(source, position)
            if not 0 <= length <= MAX_FRAME_BYTES:
                raise WireError(f"a frame of {length} bytes")
            end = position + 4 + length
            if end > available:
                break
            frames.append(bytes(source[position + 4 : end]))
            position = end
        if source is data:
            self._rest += data[position:]
        else:
            del self._rest[:position]
        return frames
