"""Tagged fields that only a newer client knows: kio refuses a message that holds one, the protocol says to skip it
(KIP-482)."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

from systems.broker.array_lengths import Step, struct_walk, unsigned_varint
from systems.broker.kio_writing import unsigned_varint as written_varint

Cleaner = Callable[[bytes, int], bytes]
"""The message from there on, without them. Raises `ValueError` or `IndexError` where it is not whole."""


@cache
def without_unknown_tags(schema: Any) -> Cleaner:
    """For messages of that schema."""
    replaced: list[tuple[int, int, bytes]] = []
    walk = struct_walk(schema, lambda nested: _tags(nested, replaced))

    def clean(message: bytes, at: int) -> bytes:
        replaced.clear()
        end = walk(message, at)
        kept = []
        for start, behind, instead in replaced:
            kept += [message[at:start], instead]
            at = behind
        return b"".join((*kept, message[at:end]))

    return clean


def _tags(schema: Any, replaced: list[tuple[int, int, bytes]]) -> Step:
    """Walks over the tagged fields of a struct and notes what stands in their place."""
    hints = typing.get_type_hints(schema)
    known = {
        field.metadata["tag"]: without_unknown_tags(hints[field.name])
        if dataclasses.is_dataclass(hints[field.name])
        else None
        for field in dataclasses.fields(schema)
        if "tag" in field.metadata
    }

    def walk(message: bytes, at: int) -> int:
        count, end = unsigned_varint(message, at)
        kept = []
        for _ in range(count):
            tag, start = unsigned_varint(message, end)
            size, start = unsigned_varint(message, start)
            end = start + size
            if end > len(message):
                raise ValueError(f"a tagged field of {size} bytes")
            if tag in known:
                clean = known[tag]
                body = message[start:end] if clean is None else clean(message[start:end], 0)
                kept.append(b"".join((written_varint(tag), written_varint(len(body)), body)))
        if count:
            replaced.append((at, end, b"".join((written_varint(len(kept)), *kept))))
        return end

    return walk
