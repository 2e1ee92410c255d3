"""Workload `session`: each key belongs to one client at a time. Does it read its own writes, and never go back?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.generators import Context, Generator, Rate, Repeat
from harness.workload import Invocation, Test
from workloads.keys import ReadAll
from workloads.register import Register

OPERATIONS = 100
"""Of one client on one key."""


class Session(Register):
    description = "one client at a time on one key: read your writes, monotonic reads and writes"
    checkers: tuple[str, ...] = ("sessions", "availability")

    def __init__(self) -> None:
        super().__init__()
        self._done: dict[int, int] = {}
        self._mine: dict[str, None] = {}

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {}

    async def setup(self, test: Test) -> None:
        await super().setup(test)
        self._done, self._mine = {}, {}

    def generator(self, test: Test) -> Generator:
        share = float(test.config["register.read.share"])

        def make(context: Context) -> Invocation:
            # A new process is a new session: its predecessor's last write may still arrive.
            count = self._done[context.process] = self._done.get(context.process, 0) + 1
            key = f"s{context.process}-{count // OPERATIONS}"
            self._mine[key] = None
            if context.random.random() < share:
                return Invocation(f="read", key=key)
            self._values += 1
            return Invocation(f="write", key=key, value=self._values)

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator:
        return ReadAll("final-read", self._mine)
