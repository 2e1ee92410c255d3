"""Consistency models, from weak to strong, and the anomalies that each of them forbids first.

A model forbids what it names here and whatever a weaker model forbids. Sources: Adya (2000) for the levels,
Cerone and Gotsman (JACM 2018) for snapshot isolation and its parallel form, Elle (VLDB 2020) for the variants
that need process order (strong session) or real time (strong, strict).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from typing import Final

import msgspec

from harness.errors import unknown_name


class ConsistencyModel(msgspec.Struct, frozen=True):
    """`weaker`: every model directly below."""

    name: str
    weaker: tuple[str, ...]
    forbids: tuple[str, ...]


CORRUPTION: Final = ("garbage-read", "duplicate-elements", "incompatible-order", "cyclic-versions")

MODELS: Final = {
    model.name: model
    for model in (
        ConsistencyModel("read-uncommitted", (), ("G0", *CORRUPTION)),
        ConsistencyModel("read-committed", ("read-uncommitted",), ("G1a", "G1b", "G1c", "dirty-update")),
        ConsistencyModel("monotonic-atomic-view", ("read-committed",), ()),
        ConsistencyModel("cursor-stability", ("read-committed",), ("lost-update",)),
        ConsistencyModel("read-atomic", ("monotonic-atomic-view",), ("internal", "fractured-read")),
        ConsistencyModel("consistent-view", ("read-atomic", "cursor-stability"), ("G-single",)),
        ConsistencyModel("parallel-snapshot-isolation", ("consistent-view",), ()),
        ConsistencyModel(
            "snapshot-isolation", ("parallel-snapshot-isolation",), ("G-nonadjacent", "long-fork")
        ),
        ConsistencyModel(
            "repeatable-read",
            ("monotonic-atomic-view", "cursor-stability"),
            ("internal", "fractured-read", "G-single", "G-nonadjacent", "long-fork", "G2-item"),
        ),
        ConsistencyModel(
            "strong-session-snapshot-isolation",
            ("snapshot-isolation",),
            ("G0-process", "G1c-process", "G-single-process", "G-nonadjacent-process"),
        ),
        ConsistencyModel(
            "strong-snapshot-isolation",
            ("strong-session-snapshot-isolation",),
            ("G0-realtime", "G1c-realtime", "G-single-realtime", "G-nonadjacent-realtime"),
        ),
        ConsistencyModel("serializable", ("repeatable-read", "snapshot-isolation"), ()),
        ConsistencyModel(
            "strong-session-serializable",
            ("serializable", "strong-session-snapshot-isolation"),
            ("G2-item-process",),
        ),
        ConsistencyModel(
            "strict-serializable",
            ("strong-session-serializable", "strong-snapshot-isolation"),
            ("G2-item-realtime",),
        ),
    )
}
DEFAULT: Final = "strict-serializable"
SYNONYMS: Final = {
    "strong-serializable": "strict-serializable",
    "strict-1sr": "strict-serializable",
    "1sr": "serializable",
    "si": "snapshot-isolation",
    "strong-si": "strong-snapshot-isolation",
    "psi": "parallel-snapshot-isolation",
}


def named(given: str) -> ConsistencyModel:
    """Raises `UserError` with the nearest known name."""
    name = given.strip().lower().replace(" ", "-").replace("_", "-")
    name = SYNONYMS.get(name, name)
    if name not in MODELS:
        raise unknown_name("consistency model", given, MODELS)
    return MODELS[name]


@cache
def forbidden(model: str) -> frozenset[str]:
    """Every anomaly that a history of the model cannot have."""
    described = MODELS[model]
    return frozenset(described.forbids).union(*(forbidden(weaker) for weaker in described.weaker))


def ruled_out(anomalies: Collection[str]) -> list[str]:
    """The models that a history with these anomalies does not satisfy, weak before strong."""
    found = set(anomalies)
    return [name for name in MODELS if forbidden(name) & found]


def gravity(anomaly: str) -> int:
    """The place of the weakest model that forbids it: the smaller, the worse."""
    return next((i for i, name in enumerate(MODELS) if anomaly in forbidden(name)), len(MODELS))


def strongest(anomalies: Collection[str]) -> list[str]:
    """The models still standing below no other that stands: usually one, none if not even the weakest does."""
    out = set(ruled_out(anomalies))
    standing = [name for name in MODELS if name not in out]
    below = {weaker for name in standing for weaker in _below(name)}
    return [name for name in standing if name not in below]


def _below(name: str) -> Iterable[str]:
    for weaker in MODELS[name].weaker:
        yield weaker
        yield from _below(weaker)
