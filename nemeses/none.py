"""No faults: the control run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from harness.schedule import Schedule
from harness.topology import Topology


class NoFaults:
    description = "no faults: what the system does undisturbed"
    needs: frozenset[str] = frozenset()

    def schedule(
        self, topology: Topology, time_limit_ms: int, rng: random.Random, config: Mapping[str, Any]
    ) -> Schedule:
        return Schedule()
