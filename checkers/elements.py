"""What is known of the elements of one set: who added them, who removed them, which reads have them.

    add                value: an element that is added only once (a retry is the same element again)
    remove             value: an element
    read, final-read   the ok's value: a list of elements (null counts as none)

A `final-read` comes after heal and quiesce.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers.violations import Violation, before, kinds, quoted, succeeded, where
from harness.columns import freeze
from harness.ops import Operation


class Elements:
    """Of one key."""

    def __init__(self, key: Any, operations: Sequence[Operation]) -> None:
        self.where = where(key, "set")
        self.adds = _by_element(kinds(operations, "add"))
        self.failed = _by_element([o for o in operations if o.f == "add" and o.outcome == "fail"])
        self.removes = _by_element(kinds(operations, "remove"))
        self.reads = succeeded(operations, "read", "final-read")
        self.finals = [o for o in self.reads if o.f == "final-read"]
        self.contents = {o.invoke.index: frozenset(freeze(e) for e in o.value or ()) for o in self.reads}
        self.acknowledged = {
            element: next(o for o in adds if o.outcome == "ok")
            for element, adds in self.adds.items()
            if any(o.outcome == "ok" for o in adds)
        }

    def has(self, read: Operation, element: Any) -> bool:
        return element in self.contents[read.invoke.index]

    def missing_at_last(self, name: str) -> list[Violation]:
        """Acknowledged, never removed, and absent from every final read that began afterwards."""
        found: list[Violation] = []
        for element, add in self.acknowledged.items():
            later = [read for read in self.finals if before(add, read)]
            if element in self.removes or not later or any(self.has(read, element) for read in later):
                continue
            seen = next((read for read in self.reads if self.has(read, element)), None)
            earlier = "" if seen is None else f", though process {seen.process} had read it"
            found.append(
                Violation(
                    name=name,
                    where=self.where,
                    sentence=(
                        f"{quoted(element)}, whose add by process {add.process} was acknowledged, is absent from the "
                        f"final read{earlier}"
                    ),
                    operations=(add, *([] if seen is None else [seen]), later[-1]),
                    value=element,
                )
            )
        return found

    def unexpected(self) -> list[Violation]:
        """Read, but never added, or only by an add that failed, or before its add began."""
        found: list[Violation] = []
        told: set[Any] = set()
        for read in self.reads:
            for element in sorted(self.contents[read.invoke.index] - told, key=repr):
                adds = self.adds.get(element, [])
                assert read.completion is not None
                if any(add.invoke.index < read.completion.index for add in adds):
                    continue
                told.add(element)
                failed = [] if adds else self.failed.get(element, [])
                why = "nobody had added it"
                if failed:
                    why = f"its add by process {failed[0].process} had certainly failed"
                found.append(
                    Violation(
                        name="aborted-read" if failed else "phantom-read",
                        where=self.where,
                        sentence=f"process {read.process} read {quoted(element)}, but {why}",
                        operations=(*failed[:1], read),
                        value=element,
                    )
                )
        return found

    def duplicated(self) -> list[Violation]:
        """One read has an element twice."""
        found: list[Violation] = []
        told: set[Any] = set()
        for read in self.reads:
            elements = [freeze(e) for e in read.value or ()]
            if len(elements) == len(self.contents[read.invoke.index]):
                continue
            seen: set[Any] = set()
            for element in elements:
                if element in seen and element not in told:
                    told.add(element)
                    found.append(
                        Violation(
                            name="duplicate",
                            where=self.where,
                            sentence=f"process {read.process} read {quoted(element)} more than once in one answer",
                            operations=(read,),
                            value=element,
                        )
                    )
                seen.add(element)
        return found


def _by_element(operations: Sequence[Operation]) -> dict[Any, list[Operation]]:
    found: dict[Any, list[Operation]] = {}
    for operation in operations:
        found.setdefault(freeze(operation.invoke.value), []).append(operation)
    return found


def final_doubt(sets: Sequence[Elements], adds: int) -> str | None:
    """Why the final reads prove nothing, with the number."""
    acknowledged = sum(len(s.acknowledged) for s in sets)
    if not acknowledged:
        return f"none of {adds} adds succeeded"
    unread = [s for s in sets if s.acknowledged and not s.finals]
    if unread:
        return f"there is no final read of {unread[0].where}, which has {len(unread[0].acknowledged)} acknowledged elements"
    late = sum(
        1 for s in sets for add in s.acknowledged.values() if not any(before(add, read) for read in s.finals)
    )
    return f"{late} acknowledged elements had no final read after them" if late else None
