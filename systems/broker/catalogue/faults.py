"""The words in which directed schedules are written."""

from __future__ import annotations

from typing import Any

from harness.schedule import Fault


def cut(selector: str, at_ms: int, duration_ms: int, **params: Any) -> Fault:
    """Silence."""
    return Fault(
        at_ms=at_ms,
        kind="partition",
        selector=selector,
        duration_ms=duration_ms,
        params={"how": "drop", **params},
    )


def kill(selector: str, at_ms: int, duration_ms: int, step: str | None = None) -> Fault:
    """At once, or when the node reaches a protocol step."""
    if step is None:
        return Fault(at_ms=at_ms, kind="kill", selector=selector, duration_ms=duration_ms)
    return Fault(
        at_ms=at_ms, kind="crash-at", selector=selector, duration_ms=duration_ms, params={"step": step}
    )


def power(selector: str, at_ms: int, duration_ms: int, **params: Any) -> Fault:
    """What was not synced is gone."""
    return Fault(at_ms=at_ms, kind="power", selector=selector, duration_ms=duration_ms, params=params)


def late(selector: str, at_ms: int, duration_ms: int, latency_ms: int, **params: Any) -> Fault:
    """Messages, of some `kinds` only."""
    return Fault(
        at_ms=at_ms,
        kind="slow",
        selector=selector,
        duration_ms=duration_ms,
        params={"latency_ms": latency_ms, **params},
    )


def pause(selector: str, at_ms: int, duration_ms: int) -> Fault:
    """Asleep, with what it is asked piling up."""
    return Fault(at_ms=at_ms, kind="pause", selector=selector, duration_ms=duration_ms)


def wipe(selector: str, at_ms: int, duration_ms: int) -> Fault:
    """With its disk."""
    return Fault(at_ms=at_ms, kind="wipe", selector=selector, duration_ms=duration_ms)
