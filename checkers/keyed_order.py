"""Checker `keyed-order`: per key, what was sent first is processed first.

    send   `record_key` names the key; a `value` is sent once
    poll   the ok's value: records [partition, offset, value], in the order in which they were processed

Sends of a key are in order where one was acknowledged before the next began. A record that is processed again (a
successor goes back a little) counts where it is processed first. Of two processings the order is known within one
poll, and where one poll had ended before the other began; what overlaps proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from checkers.violations import Violation, answer, quoted
from harness.checker import CheckContext
from harness.columns import freeze
from harness.history import History
from harness.ops import Operation
from harness.results import Result


class Processing(msgspec.Struct, frozen=True):
    """The polls that had a record, in order of their beginning, each with its place in it: usually one."""

    polls: tuple[tuple[Operation, int], ...]
    partition: str

    @property
    def earliest(self) -> Operation:
        """It was processed no earlier than this began."""
        return self.polls[0][0]

    @property
    def surest(self) -> Operation:
        """It had been processed when this ended."""
        return min((poll for poll, _ in self.polls), key=_end)

    @property
    def start(self) -> int:
        return self.earliest.invoke.index

    @property
    def end(self) -> int:
        return _end(self.surest)

    def only_after(self, poll: Operation) -> bool:
        """Does whatever else had it begin only when `poll` had ended?"""
        return all(other is poll or other.invoke.index > _end(poll) for other, _ in self.polls)


class KeyedOrderChecker:
    description = "the records of a key are processed in the order in which they were sent"
    anomalies: Mapping[str, str] = {
        "key-order-violation": "of two records of a key the one that was sent later was processed earlier",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        processed = processings(history.operations)
        sends: dict[str, list[Operation]] = {}
        for operation in history.operations:
            key = operation.invoke.extra.get("record_key")
            if operation.f == "send" and key is not None and operation.outcome == "ok":
                sends.setdefault(str(key), []).append(operation)
        found: list[Violation] = []
        out_of: dict[tuple[str, str], tuple[int, str]] = {}
        judged = spread = 0
        for key, of_key in sends.items():
            seen = [(o, processed[v]) for o in of_key if (v := freeze(o.invoke.value)) in processed]
            judged += max(0, len(seen) - 1)
            spread += len({processing.partition for _, processing in seen}) > 1
            out_of["key-order-violation", f"key {key}"] = len(seen), "processed records"
            found += inversions(key, seen)
        doubt = None
        if not judged:
            total = sum(map(len, sends.values()))
            doubt = f"of {total} acknowledged sends of {len(sends)} keys no two of one key were processed"
        return answer(
            "keyed-order",
            history,
            context,
            found,
            doubt=doubt,
            measures={
                "keys": len(sends),
                "records_judged": judged,
                "out_of_order": len(found),
                "keys_in_several_partitions": spread,
            },
            out_of=out_of,
        )


def processings(operations: Sequence[Operation]) -> dict[Any, Processing]:
    """Value -> its first processing."""
    found: dict[Any, Processing] = {}
    for operation in operations:
        if operation.f != "poll" or operation.outcome != "ok":
            continue
        for place, (partition, _, value) in enumerate(operation.value or ()):
            known = found.get(freeze(value))
            before = () if known is None else known.polls
            found[freeze(value)] = Processing((*before, (operation, place)), str(partition))
    return found


def _end(operation: Operation) -> int:
    assert operation.completion is not None
    return operation.completion.index


def inversions(key: str, seen: Sequence[tuple[Operation, Processing]]) -> list[Violation]:
    """One for each record that was processed although one sent before it was processed only later. Linear after
    sorting: of the sends that had ended before, only the one processed last of all matters, and the last of each poll."""
    by_end = sorted(seen, key=lambda pair: _end(pair[0]))
    latest: Sent | None = None
    in_poll: dict[int, tuple[int, Sent]] = {}
    found: list[Violation] = []
    done = 0
    for send, processing in sorted(seen, key=lambda pair: pair[0].invoke.index):
        while done < len(by_end) and _end(by_end[done][0]) < send.invoke.index:
            earlier = by_end[done]
            if latest is None or earlier[1].start > latest[1].start:
                latest = earlier
            for poll, place in earlier[1].polls:
                last = in_poll.get(poll.invoke.index)
                if earlier[1].only_after(poll) and (last is None or place > last[0]):
                    in_poll[poll.invoke.index] = place, earlier
            done += 1
        if latest is not None and processing.end < latest[1].start:
            found.append(_violation(key, latest, (send, processing), None))
            continue
        for poll, place in processing.polls:
            beside = in_poll.get(poll.invoke.index)
            if beside is not None and place < beside[0]:
                found.append(_violation(key, beside[1], (send, processing), poll))
                break
    return found


Sent = tuple[Operation, Processing]


def _violation(key: str, first: Sent, second: Sent, poll: Operation | None) -> Violation:
    """`poll` had both."""
    (a, a_done), (b, b_done) = first, second
    where = (
        f"both in {a_done.partition}"
        if a_done.partition == b_done.partition
        else f"one in {a_done.partition}, the other in {b_done.partition}"
    )
    when = (
        "in the same poll behind it"
        if poll is not None
        else f"only after that, by process {a_done.earliest.process}"
    )
    by = b_done.surest if poll is None else poll
    return Violation(
        name="key-order-violation",
        where=f"key {key}",
        sentence=(
            f"{quoted(a.invoke.value)} was acknowledged before {quoted(b.invoke.value)} was sent, but "
            f"{quoted(b.invoke.value)} was processed by process {by.process} and "
            f"{quoted(a.invoke.value)} {when} ({where})"
        ),
        operations=(a, b, by) if poll is not None else (a, b, by, a_done.earliest),
        value=b.invoke.value,
    )
