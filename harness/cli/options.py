"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from harness.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, None: 1_000}


def debug(command: F) -> F:
    """Also accepted after the command's name; `LazyGroup.main` looks for it."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(
        command
    )


def as_json(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(
        command
    )


def settings(command: F) -> F:
    return click.option(
        "--set",
        "settings",
        metavar="KEY=VALUE",
        multiple=True,
        help="A setting of system, workload or harness, under the system's own name (`chaos list settings`).",
    )(command)


def profile(command: F) -> F:
    return click.option(
        "--profile",
        default="",
        metavar="NAME",
        help="A named set of the system's settings (`chaos list profiles`); --set goes over it.",
    )(command)


def parse_settings(given: tuple[str, ...]) -> dict[str, str]:
    """Raises `UserError` for what is no KEY=VALUE."""
    parsed: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {text}: expected KEY=VALUE, as in --set acks=1")
        parsed[key.strip()] = value.strip()
    return parsed


def parse_duration_ms(text: str, option: str = "--time-limit") -> int:
    """`90`, `90s`, `1.5m`, `500ms`. Raises `UserError` that names the option."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise UserError(f"{option} {text}: expected seconds above 0, or a number with ms, s, m or h")
    return int(float(match[1]) * _UNIT_MS[match[2]])
