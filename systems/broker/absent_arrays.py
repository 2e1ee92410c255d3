"""Arrays that a request may not leave out, and does all the same: kio reads a null for any array."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

Check = Callable[[Any], str | None]


class _Array(NamedTuple):
    name: str
    nullable: bool
    of_elements: Check | None


def absent_array(schema: Any) -> Check | None:
    """Finds the first array that is null in a payload although its field is not nullable: its name. None where the
    schema has no arrays at all."""
    arrays = [array for array in _arrays(schema) if array.of_elements is not None or not array.nullable]
    if not arrays:
        return None

    def check(payload: Any) -> str | None:
        for name, nullable, of_elements in arrays:
            elements = getattr(payload, name)
            if elements is None:
                if nullable:
                    continue
                return name
            if of_elements is not None:
                for element in elements:
                    found = of_elements(element)
                    if found is not None:
                        return found
        return None

    return check


def _arrays(schema: Any) -> list[_Array]:
    hints = typing.get_type_hints(schema)
    found = []
    for field in dataclasses.fields(schema):
        hint = hints[field.name]
        choices = (hint,) if typing.get_origin(hint) is tuple else typing.get_args(hint)
        array = next((choice for choice in choices if typing.get_origin(choice) is tuple), None)
        if array is not None:
            element = typing.get_args(array)[0]
            of_elements = absent_array(element) if dataclasses.is_dataclass(element) else None
            found.append(_Array(field.name, array is not hint, of_elements))
    return found
