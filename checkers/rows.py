"""Checker `rows`: a row is read as it was written, never half of one write and half of another.

write              key, value: the row, a list or a map of columns
read, final-read   the ok's value: the row, null where there is none
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.violations import Violation, answer, by_key, distinct, kinds, quoted, succeeded, where
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result


class RowsChecker:
    description = "every row that is read was written as one"
    anomalies: Mapping[str, str] = {
        "mixed-row": "a row equal to no single written row, made of columns of several",
        "phantom-read": "a row with a column that nobody wrote",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        found: list[Violation] = []
        every = [o for o in history.operations if o.f in ("write", "read", "final-read")]
        for key, operations in by_key(every).items():
            found += _of_key(key, operations)
        reads = [o for o in succeeded(every, "read", "final-read") if o.value is not None]
        writes = succeeded(every, "write")
        doubt = None
        if not writes:
            doubt = f"none of {len(every)} operations wrote a row with success"
        elif not reads:
            doubt = f"no row was read of {len(writes)} written"
        measures = {"written": len(writes), "read": len(reads)}
        return answer("rows", history, context, found, doubt=doubt, measures=measures)


def _of_key(key: Any, operations: list[Operation]) -> list[Violation]:
    writes = kinds(operations, "write")
    rows = {freeze(o.invoke.value) for o in writes}
    by_column: dict[Any, Operation] = {}
    for write in writes:
        for column in columns(write.invoke.value):
            by_column.setdefault(column, write)
    found: list[Violation] = []
    for read in succeeded(operations, "read", "final-read"):
        if read.value is None or freeze(read.value) in rows:
            continue
        sources = [by_column.get(column) for column in columns(read.value)]
        known = distinct(source for source in sources if source is not None)
        mixed = None not in sources
        writers = " and ".join(f"process {o.process}" for o in known)
        what = f"which mixes what {writers} wrote" if mixed else "of which a column was never written"
        found.append(
            Violation(
                name="mixed-row" if mixed else "phantom-read",
                where=where(key, "row"),
                sentence=f"process {read.process} read {quoted(read.value)}, {what}",
                operations=(*known, read),
                value=read.value,
            )
        )
    return found


def columns(row: Any) -> list[tuple[Any, Any]]:
    """(name or position, value) of each."""
    if isinstance(row, dict):
        return [(freeze(name), freeze(value)) for name, value in row.items()]
    return [(n, freeze(value)) for n, value in enumerate(row if isinstance(row, list | tuple) else [row])]
