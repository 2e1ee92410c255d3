"""The ring: consistent hashing (Karger et al. 1997) with virtual nodes, as in Dynamo (DeCandia et al. 2007, 4.2).

A token is the first 8 bytes of the blake2b of a text; a key belongs to the first virtual node at or after its token,
clockwise, and its preference list are the first N distinct physical nodes from there on.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

VNODES = 16


def token(text: str) -> int:
    """In [0, 2**64)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def range_of(key: str, ranges: int) -> int:
    """Where a key's token lies when the circle is cut into so many parts."""
    return token(key) * ranges >> 64


class Ring:
    """`nodes`: names, or names with the text that their tokens are made of (a node that takes the place of another
    one takes over its tokens). `weights`: node -> multiple of `vnodes` (1 where it has none). Immutable.

    `distinct` False is a mistake: a preference list of virtual nodes, which may all be of one physical node.
    """

    def __init__(
        self,
        nodes: Iterable[str] | Mapping[str, str],
        *,
        vnodes: int = VNODES,
        weights: Mapping[str, float] | None = None,
        distinct: bool = True,
    ) -> None:
        named = nodes if isinstance(nodes, Mapping) else {node: node for node in nodes}
        self.nodes = tuple(sorted(named))
        self.vnodes = vnodes
        self._distinct = distinct
        places: list[tuple[int, str]] = []
        for node in self.nodes:
            count = max(1, round(vnodes * (weights or {}).get(node, 1.0)))
            places += [(token(f"{named[node]}/{number}"), node) for number in range(count)]
        places.sort()
        self.tokens = [place for place, _ in places]
        self._owners = [node for _, node in places]
        self._walks: dict[int, tuple[str, ...]] = {}

    def walk(self, key: str) -> tuple[str, ...]:
        """All nodes in the order in which they would keep the key."""
        return self._walk_from(token(key))

    def _walk_from(self, place: int) -> tuple[str, ...]:
        if not self.tokens:
            return ()
        start = bisect_left(self.tokens, place) % len(self.tokens)
        known = self._walks.get(start)
        if known is None:
            turned = self._owners[start:] + self._owners[:start]
            known = self._walks[start] = tuple(dict.fromkeys(turned) if self._distinct else turned)
        return known

    def preference(self, key: str, copies: int) -> tuple[str, ...]:
        """The nodes that keep the key; fewer than `copies` only where there are fewer nodes."""
        return self.walk(key)[:copies]

    def preference_at(self, place: int, copies: int) -> tuple[str, ...]:
        """The same of a key with that token."""
        return self._walk_from(place)[:copies]


def remapped(before: Ring, after: Ring, keys: Sequence[str]) -> float:
    """The share of keys whose first owner differs."""
    return sum(before.walk(key)[:1] != after.walk(key)[:1] for key in keys) / len(keys)


def remapped_by_modulo(before: int, after: int, keys: Sequence[str]) -> float:
    """The same where a key belonged to node `hash mod n`."""
    return sum(token(key) % before != token(key) % after for key in keys) / len(keys)
