"""Registers: the last writer wins, by wall clock (LWW), by a quorum's tag (ABD), or column by column (rows)."""

from __future__ import annotations

from typing import Any

import msgspec


class Lww(msgspec.Struct, frozen=True, tag="lww"):
    """`timestamp` in nanoseconds of the coordinator's wall clock, `tie` unique among all writes: a total order, but
    not that of real time."""

    timestamp: int
    tie: str
    value: Any = None
    deleted: bool = False

    @property
    def order(self) -> tuple[int, str]:
        return self.timestamp, self.tie

    @property
    def version(self) -> list[Any]:
        return [self.timestamp]


class Abd(msgspec.Struct, frozen=True, tag="abd"):
    """Attiya, Bar-Noy and Dolev 1995, with many writers (Lynch and Shvartsman 1997): the tag is one more than the
    largest of a quorum, then the writer, then a nonce that is unique over its restarts."""

    counter: int
    writer: str
    nonce: int
    value: Any = None
    deleted: bool = False
    timestamp: int = 0
    """Wall clock of the write: for the age of a tombstone only."""

    @property
    def order(self) -> tuple[int, str, int]:
        return self.counter, self.writer, self.nonce

    @property
    def version(self) -> list[Any]:
        return [self.counter]


class Column(msgspec.Struct, frozen=True, array_like=True):
    timestamp: int
    tie: str
    value: Any


class Row(msgspec.Struct, frozen=True, tag="row"):
    """Each column has a version of its own, as in Cassandra. With an empty tie, columns with equal timestamps are
    decided by their values, and two rows written in the same tick may mix."""

    columns: dict[str, Column]


def later(a: Lww, b: Lww) -> Lww:
    return a if a.order >= b.order else b


def larger(a: Abd, b: Abd) -> Abd:
    return a if a.order >= b.order else b


def mixed(a: Row, b: Row) -> Row:
    columns = dict(a.columns)
    for name, column in b.columns.items():
        mine = columns.get(name)
        if mine is None or _order(column) > _order(mine):
            columns[name] = column
    return Row(dict(sorted(columns.items())))


def _order(column: Column) -> tuple[int, str, str]:
    return column.timestamp, column.tie, str(column.value)
