"""Settings: every `--set KEY=VALUE` that a system or a workload understands, declared once.

Names are the system's own (Kafka's configuration keys for the broker). The declaration serves
validation, `--help`, the report's list of what differs from the default, and the reference docs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from harness.errors import UserError, unknown_name

Kind = Literal["int", "float", "bool", "str"]
Value = int | float | bool | str


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One key. `scope` says who reads it: `broker`, `topic`, `producer`, `consumer`, `workload`, `harness`."""

    name: str
    default: Value
    doc: str
    scope: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def kind(self) -> Kind:
        if isinstance(self.default, bool):
            return "bool"
        if isinstance(self.default, int):
            return "int"
        return "float" if isinstance(self.default, float) else "str"

    def parse(self, text: str | Value) -> Value:
        """The typed value of what a user wrote. Raises `UserError` that names the key and what it takes."""
        try:
            value = self._convert(text)
        except ValueError:
            raise UserError(f"{self.name}={text}: expected {self._expected()}") from None
        if self.choices and str(value) not in self.choices:
            raise UserError(f"{self.name}={text}: expected one of {', '.join(self.choices)}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            too_low = self.minimum is not None and value < self.minimum
            if too_low or (self.maximum is not None and value > self.maximum):
                raise UserError(f"{self.name}={text}: expected {self._expected()}")
        return value

    def _convert(self, text: str | Value) -> Value:
        if not isinstance(text, str):
            text = str(text).lower() if isinstance(text, bool) else str(text)
        match self.kind:
            case "bool":
                lowered = text.lower()
                if lowered in ("true", "on", "yes", "1"):
                    return True
                if lowered in ("false", "off", "no", "0"):
                    return False
                raise ValueError(text)
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "str":
                return text

    def _expected(self) -> str:
        what = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}[
            self.kind
        ]
        if self.minimum is not None and self.maximum is not None:
            return f"{what} from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{what} of at least {self.minimum:g}"
        if self.maximum is not None:
            return f"{what} of at most {self.maximum:g}"
        return what


def resolve(declared: Iterable[Setting], given: Mapping[str, str | Value]) -> dict[str, Value]:
    """All settings with their values: the given ones parsed, the rest at their defaults.

    Raises `UserError` for an unknown key (with the nearest known one) or a value of the wrong kind.
    """
    by_name = {s.name: s for s in declared}
    for key in given:
        if key not in by_name:
            raise unknown_name("--set key", key, by_name)
    return {name: s.parse(given[name]) if name in given else s.default for name, s in by_name.items()}
