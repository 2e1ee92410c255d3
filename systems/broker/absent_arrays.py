"""Arrays that a request may not leave out, and does all the same: kio reads a null for any array."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], str | None]


def absent_array(schema: Any) -> Check | None:
    """Finds the first array that is null in a payload although its field is not nullable: its name. None where the
    schema has no arrays at all."""
    fields = [
        (field.name, absent_array(element) if dataclasses.is_dataclass(element) else None)
        for field, element in _arrays(schema)
    ]
    if not fields:
        return None

    def check(payload: Any) -> str | None:
        for name, of_elements in fields:
            elements = getattr(payload, name)
            if elements is None:
                return name
            if of_elements is not None:
                for element in elements:
                    found = of_elements(element)
                    if found is not None:
                        return found
        return None

    return check


def _arrays(schema: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(schema)
    return [
        (field, typing.get_args(hints[field.name])[0])
        for field in dataclasses.fields(schema)
        if typing.get_origin(hints[field.name]) is tuple
    ]
