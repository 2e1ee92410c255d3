"""How long arrays say that they are, looked at before anybody believes them.

kio's native reader makes room for as many elements as a request announces: four bytes that announce two billion would
end the process. No element is smaller than a byte, so that an array longer than what is left of its frame is a lie.
"""

from __future__ import annotations

import dataclasses
import struct
import typing
from collections.abc import Callable
from typing import Any, Final

Step = Callable[[bytes, int], int]
"""From where a field begins to where it ends. Raises `ValueError` or `IndexError` where it cannot be whole."""

_FIXED: Final = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "timedelta_i32": 4,
    "int64": 8,
    "timedelta_i64": 8,
    "datetime_i64": 8,
    "float64": 8,
    "uuid": 16,
}
_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")


def plausible_arrays(schema: Any) -> Step | None:
    """Walks over a payload of that schema; None where it has no arrays."""
    return struct_walk(schema) if _has_arrays(schema) else None


def _has_arrays(schema: Any) -> bool:
    return any(_element(hint) is not None for hint in typing.get_type_hints(schema).values())


def struct_walk(schema: Any, tags: Callable[[Any], Step] = lambda schema: _tags) -> Step:
    """Walks over a struct, nested ones included; `tags` makes the step over the tagged fields of each."""
    steps: list[Step] = []
    fixed = 0
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        if "tag" in field.metadata:
            continue
        kind, hint = field.metadata.get("kafka_type"), hints[field.name]
        element = _element(hint)
        if element is None and kind in _FIXED:
            fixed += _FIXED[kind]
            continue
        if fixed:
            steps.append(_skip(fixed))
            fixed = 0
        steps.append(_field(schema, kind, hint, element, tags))
    if fixed:
        steps.append(_skip(fixed))
    if schema.__flexible__:
        steps.append(tags(schema))
    if len(steps) == 1:
        return steps[0]

    def walk(frame: bytes, at: int) -> int:
        for step in steps:
            at = step(frame, at)
        return at

    return walk


def _field(schema: Any, kind: str | None, hint: Any, element: Any, tags: Callable[[Any], Step]) -> Step:
    flexible = schema.__flexible__
    if element is not None:
        one = struct_walk(element, tags) if dataclasses.is_dataclass(element) else _primitive(kind, flexible)
        return _compact_array(one) if flexible else _array(one)
    if dataclasses.is_dataclass(hint):
        return struct_walk(hint, tags)
    nested = next((a for a in typing.get_args(hint) if dataclasses.is_dataclass(a)), None)
    if nested is not None:
        return _nullable(struct_walk(nested, tags))
    return _primitive(kind, flexible)


def _primitive(kind: str | None, flexible: bool) -> Step:
    if kind in _FIXED:
        return _skip(_FIXED[kind])
    if kind == "string":
        return _compact_bytes if flexible else _string
    if kind in ("bytes", "records"):
        return _compact_bytes if flexible else _bytes
    raise TypeError(f"no request was expected to have a field of type {kind}")


def _element(hint: Any) -> Any:
    """What an array is of; None for what is no array."""
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0]
    inner = (_element(argument) for argument in typing.get_args(hint))
    return next((element for element in inner if element is not None), None)


def _skip(size: int) -> Step:
    return lambda frame, at: at + size


def _string(frame: bytes, at: int) -> int:
    return at + 2 + max(int(_INT16.unpack_from(frame, at)[0]), 0)


def _bytes(frame: bytes, at: int) -> int:
    return at + 4 + max(int(_INT32.unpack_from(frame, at)[0]), 0)


def _compact_bytes(frame: bytes, at: int) -> int:
    size, at = unsigned_varint(frame, at)
    return at + max(size - 1, 0)


def _nullable(whole: Step) -> Step:
    """KIP-893: a byte says whether there is anything."""

    def walk(frame: bytes, at: int) -> int:
        return at + 1 if frame[at] >= 0x80 else whole(frame, at + 1)

    return walk


def _array(one: Step) -> Step:
    def walk(frame: bytes, at: int) -> int:
        return _elements(one, frame, at + 4, _INT32.unpack_from(frame, at)[0])

    return walk


def _compact_array(one: Step) -> Step:
    def walk(frame: bytes, at: int) -> int:
        count, at = unsigned_varint(frame, at)
        return _elements(one, frame, at, count - 1)

    return walk


def _elements(one: Step, frame: bytes, at: int, count: int) -> int:
    if count > len(frame) - at:
        raise ValueError(f"{count} elements in {len(frame) - at} bytes")
    for _ in range(count):
        at = one(frame, at)
    return at


def _tags(frame: bytes, at: int) -> int:
    count, at = unsigned_varint(frame, at)
    for _ in range(min(count, len(frame))):
        _, at = unsigned_varint(frame, at)
        size, at = unsigned_varint(frame, at)
        at += size
    return at


def unsigned_varint(frame: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = frame[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
