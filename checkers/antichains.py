"""The largest antichain of a partial order, by Dilworth's theorem: as many elements as the fewest chains that cover
all of them, and those are all elements less a largest matching of elements with ones above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def width(elements: Sequence[Any], past: Mapping[Any, frozenset[Any]]) -> int:
    """`past` is transitively closed. O(elements x relations)."""
    inside = set(elements)
    above: dict[Any, list[Any]] = {element: [] for element in elements}
    for element in elements:
        for below in sorted(past.get(element, frozenset()) & inside, key=repr):
            above[below].append(element)
    matched: dict[Any, Any] = {}
    return len(elements) - sum(_augment(element, above, matched) for element in elements)


def _augment(start: Any, above: Mapping[Any, list[Any]], matched: dict[Any, Any]) -> bool:
    """One more pair, along a path that alternates (Kuhn), without recursion."""
    came_from: dict[Any, Any] = {}
    stack = [start]
    while stack:
        element = stack.pop()
        for upper in above[element]:
            if upper in came_from:
                continue
            came_from[upper] = element
            if upper not in matched:
                _flip(upper, start, came_from, matched)
                return True
            stack.append(matched[upper])
    return False


def _flip(free: Any, start: Any, came_from: Mapping[Any, Any], matched: dict[Any, Any]) -> None:
    upper = free
    while True:
        lower = came_from[upper]
        previous = next((u for u, low in matched.items() if low == lower), None)
        matched[upper] = lower
        if lower == start:
            return
        assert previous is not None
        upper = previous
