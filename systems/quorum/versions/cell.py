"""The cell of a key: one of the kinds, with the one way in which two of them become one."""

from __future__ import annotations

import msgspec

from systems.quorum.versions.crdt import Counter, OrSet, summed, united
from systems.quorum.versions.registers import Abd, Lww, Row, larger, later, mixed
from systems.quorum.versions.siblings import Siblings, synced

Cell = Lww | Abd | Row | Siblings | Counter | OrSet

canonical = msgspec.msgpack.Encoder(order="deterministic").encode
"""Equal cells have equal bytes, on every node."""


class WrongType(Exception):
    """The key holds something else."""


def merge(a: Cell | None, b: Cell | None) -> Cell | None:
    """Raises `WrongType` for two kinds."""
    if a is None or b is None:
        return b if a is None else a
    match a, b:
        case Lww(), Lww():
            return later(a, b)
        case Abd(), Abd():
            return larger(a, b)
        case Row(), Row():
            return mixed(a, b)
        case Siblings(), Siblings():
            return synced(a, b)
        case Counter(), Counter():
            return summed(a, b)
        case OrSet(), OrSet():
            return united(a, b)
    raise WrongType(f"{type(a).__name__} meets {type(b).__name__}")


def tombstone(cell: Cell | None) -> int | None:
    """When it was deleted, in nanoseconds of a wall clock; None where it was not."""
    if isinstance(cell, Lww | Abd) and cell.deleted:
        return cell.timestamp
    return None
