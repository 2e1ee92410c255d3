"""Checker `divergence`: after heal, quiesce and every declared repair, the replicas of a key hold the same.

    replicas   key, the ok's value: a map from node to what it holds (null where it holds nothing)

White box: the workload asks the nodes themselves. The last answer for a key counts. With `replication.factor` in the
configuration, fewer nodes that hold a key than that is under-replication.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.violations import Violation, answer, by_key, quoted, succeeded, where
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result


class DivergenceChecker:
    description = "replicas agree once everything is healed and repaired"
    anomalies: Mapping[str, str] = {
        "divergence": "after heal, quiesce and repair, two replicas of a key differ",
        "under-replication": "after quiesce, fewer nodes hold a key than there should be copies",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        copies = context.config.get("replication.factor")
        last = {key: asked[-1] for key, asked in by_key(succeeded(history.operations, "replicas")).items()}
        found: list[Violation] = []
        for key, asked in last.items():
            found += _of_key(key, asked, None if copies is None else int(copies))
        doubt = None if last else f"no replica was asked in {len(history.operations)} operations"
        return answer("divergence", history, context, found, doubt=doubt, measures={"keys": len(last)})


def _of_key(key: Any, asked: Operation, copies: int | None) -> list[Violation]:
    held = {str(node): value for node, value in sorted((asked.value or {}).items())}
    holders = [node for node, value in held.items() if value is not None]
    by_value: dict[Any, list[str]] = {}
    for node, value in held.items():
        by_value.setdefault(freeze(value), []).append(node)
    found: list[Violation] = []
    if len(by_value) > 1:
        sides = "; ".join(f"{', '.join(nodes)}: {quoted(value)}" for value, nodes in by_value.items())
        found.append(
            Violation(
                name="divergence",
                where=where(key, "store"),
                sentence=f"the replicas differ after repair ({sides})",
                operations=(asked,),
                value=key,
            )
        )
    if copies is not None and holders and len(holders) < copies:
        found.append(
            Violation(
                name="under-replication",
                where=where(key, "store"),
                sentence=f"only {', '.join(holders)} hold it: {len(holders)} of {copies} copies",
                operations=(asked,),
                value=key,
            )
        )
    return found
