"""Checker `unique-ids`: `generate` answers an id in `value`, and never the same twice (per key, where there is one)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.violations import Violation, answer, by_key, quoted, succeeded, where
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result


class UniqueIdsChecker:
    description = "no id is handed out twice"
    anomalies: Mapping[str, str] = {"duplicate": "one id was handed out to two operations"}

    def check(self, history: History, context: CheckContext) -> Result:
        found: list[Violation] = []
        generated = succeeded(history.operations, "generate")
        for key, operations in by_key(generated).items():
            by_id: dict[Any, list[Operation]] = {}
            for operation in operations:
                by_id.setdefault(freeze(operation.value), []).append(operation)
            for name, several in by_id.items():
                if len(several) > 1:
                    who = " and ".join(f"process {o.process}" for o in several[:2])
                    sentence = f"{quoted(name)} was handed out {len(several)} times, first to {who}"
                    found.append(
                        Violation(
                            name="duplicate",
                            where=where(key, "generator"),
                            sentence=sentence,
                            operations=tuple(several),
                            value=name,
                        )
                    )
        doubt = None if generated else f"none of {len(history.operations)} operations handed out an id"
        return answer(
            "unique-ids", history, context, found, doubt=doubt, measures={"generated": len(generated)}
        )
