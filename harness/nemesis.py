"""A nemesis: a pure function from topology, time limit and randomness to a fault schedule.

Registered under `chaos.nemeses`. The same function serves a run (`random.Random(seed)`) and a property
test (Hypothesis' `st.randoms()`, whose draws it controls and shrinks). `--nemesis a+b` merges schedules.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol

from harness.schedule import Schedule
from harness.topology import Topology


class Nemesis(Protocol):
    description: str
    needs: frozenset[str]
    """Fault kinds (`harness.schedule`) that the backend must have."""

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule: ...
