"""Workload `causal`: processes read registers and write others, so that what one has seen stands before what it writes.

Most transactions read and then write: a chain of causes that runs through many processes. Whoever sees its end has to
see all before it.
"""

from __future__ import annotations

import random

from harness.settings import Setting
from workloads.transacting import Program, RotatingKeys, read, rotating_keys


class Causal(RotatingKeys):
    description = "reads and writes of registers: does everybody see causes before their effects?"
    checkers = ("causal", "availability")
    settings: tuple[Setting, ...] = rotating_keys("causal", "register", live=4, uses=200)
    name, prefix = "causal", "c"

    def program(self, rng: random.Random) -> Program:
        seen, written = self._keys.draw(rng), self._keys.draw(rng)
        match rng.randrange(4):
            case 0:
                return [("w", written, self._values.next(written))]
            case 1:
                return [read(seen), ("w", written, self._values.next(written))]
            case _:
                return [read(seen)]
