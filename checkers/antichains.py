"""The largest antichain of a partial order, by Dilworth's theorem: as many elements as the fewest chains that cover
all of them, and those are all elements less a largest matching of elements with ones above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def width(elements: Sequence[int], past: Sequence[int]) -> int:
    """Bit n of `past[m]` says that n is below m; the relation is transitively closed."""
    inside = sum(1 << element for element in elements)
    above: dict[int, list[int]] = {element: [] for element in elements}
    for element in elements:
        below = past[element] & inside
        while below:
            lowest = below & -below
            above[lowest.bit_length() - 1].append(element)
            below ^= lowest
    lower_of: dict[int, int] = {}
    upper_of: dict[int, int] = {}
    return len(elements) - sum(_augment(element, above, lower_of, upper_of) for element in elements)


def _augment(
    start: int, above: Mapping[int, list[int]], lower_of: dict[int, int], upper_of: dict[int, int]
) -> bool:
    """One more pair, along a path that alternates between pairs and others (Kuhn), without recursion."""
    came_from: dict[int, int] = {}
    stack = [start]
    while stack:
        element = stack.pop()
        for upper in above[element]:
            if upper in came_from:
                continue
            came_from[upper] = element
            if upper in lower_of:
                stack.append(lower_of[upper])
                continue
            while True:
                lower = came_from[upper]
                previous = upper_of.get(lower)
                lower_of[upper], upper_of[lower] = lower, upper
                if previous is None:
                    return True
                upper = previous
    return False
