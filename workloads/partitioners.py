"""Which partition a keyed record goes to: what producers of different makes do, and what happens when they disagree.

`murmur2` is what Kafka's own clients and aiokafka do, `crc32` librdkafka's default of old (librdkafka#4510): both keep a
key in one partition, but not in the same one. `sticky` fills one partition for a while and moves on, `round-robin`
takes turns: both spread the load and keep no order of keys. `custom` is a rule that knows the application: its
hottest key has the last partition for itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from aiokafka.partitioner import murmur2

STICKY_RECORDS = 16
"""Records before a sticky partitioner moves on, as a full batch would make it."""


class Partitioner(Protocol):
    """A producer's own: it may remember what it did before."""

    def __call__(self, key: str, partitions: int) -> int: ...


def by_murmur2(key: str, partitions: int) -> int:
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def by_crc32(key: str, partitions: int) -> int:
    return zlib.crc32(key.encode()) % partitions


class Sticky:
    def __init__(self) -> None:
        self._at = 0
        self._left = STICKY_RECORDS

    def __call__(self, key: str, partitions: int) -> int:
        if self._left == 0:
            self._at, self._left = self._at + 1, STICKY_RECORDS
        self._left -= 1
        return self._at % partitions


class RoundRobin:
    def __init__(self) -> None:
        self._at = -1

    def __call__(self, key: str, partitions: int) -> int:
        self._at += 1
        return self._at % partitions


def hottest_apart(hottest: str) -> Partitioner:
    """The hottest key alone in the last partition; the others share the rest by murmur2."""

    def choose(key: str, partitions: int) -> int:
        if partitions == 1:
            return 0
        return partitions - 1 if key == hottest else by_murmur2(key, partitions - 1)

    return choose


NAMES = ("murmur2", "crc32", "mixed", "sticky", "round-robin", "custom")


def partitioner(name: str, producer: int, *, hottest: str) -> Partitioner:
    """A new one for a producer; `mixed` gives the odd ones another hash than the even ones."""
    made: dict[str, Callable[[], Partitioner]] = {
        "murmur2": lambda: by_murmur2,
        "crc32": lambda: by_crc32,
        "mixed": lambda: by_crc32 if producer % 2 else by_murmur2,
        "sticky": Sticky,
        "round-robin": RoundRobin,
        "custom": lambda: hottest_apart(hottest),
    }
    return made[name]()
