"""Certificates, checked by a program that does not trust the search: naive on purpose.

`legal_order` checks a claimed order in one pass. `impossible` tries every order: for a handful of operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations
from typing import Any

from checkers.linearizable.models import ILLEGAL, Call, Model


def legal_order(order: Sequence[Call], calls: Sequence[Call], model: Model, initial: Any = None) -> bool:
    """Does the order hold every certain call once, `info` calls at most once, contradict no real time, and give
    every answer that was given?"""
    if len(set(order)) != len(order) or not set(order) <= set(calls):
        return False
    if not {c for c in calls if c.certain} <= set(order):
        return False
    state = model.initial if initial is None else initial
    latest_start = -(2**60)
    for call in order:
        if call.end < latest_start:
            return False
        latest_start = max(latest_start, call.start)
        state = model.step(state, call)
        if state is ILLEGAL:
            return False
    return True


def impossible(calls: Sequence[Call], model: Model, initial: Any = None) -> bool:
    """Is there no legal order at all, whichever of the `info` calls happened?"""
    certain = [c for c in calls if c.certain]
    unknown = [c for c in calls if not c.certain]
    for count in range(len(unknown) + 1):
        for happened in combinations(unknown, count):
            for order in permutations([*certain, *happened]):
                if legal_order(order, calls, model, initial):
                    return False
    return True
