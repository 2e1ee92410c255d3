"""A proof for a reader: which key, from which event on, which operations block each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from checkers.linearizable.evidence import ABORTED, LOST, PHANTOM, STALE, UPDATE, Evidence
from checkers.linearizable.models import Call
from checkers.linearizable.partition import Calls
from checkers.narrative import quoted as in_quotes
from checkers.narrative import seconds
from checkers.story import Beat, compose
from harness.columns import FAIL, INFO, Columns
from harness.results import Moment

MOST_ROWS = 60


def quoted(value: Any) -> str:
    """As the history has it."""
    if value is None or isinstance(value, bool):
        return "`null`" if value is None else f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return in_quotes(list(value))
    return in_quotes(value)


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """One key that is not linearizable, in words. `ops` are history indices, those of the proof."""

    name: str
    label: str
    key: Any
    summary: str
    ops: tuple[int, ...]
    story: tuple[Moment, ...]
    start: int
    end: int
    data: dict[str, Any]


class Telling:
    """The words for operations of one history."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def process(self, row: int) -> Any:
        return self.columns.processes[self.columns.process[row]]

    def began(self, row: int) -> int:
        return int(self.columns.invoke_time[row])

    def ended(self, row: int) -> int | None:
        time = int(self.columns.complete_time[row])
        return None if time < 0 or self.columns.outcome[row] == INFO else time

    def indices(self, rows: Sequence[int]) -> tuple[int, ...]:
        found: list[int] = []
        for row in rows[:MOST_ROWS]:
            found.append(int(self.columns.invoke_index[row]))
            if self.columns.complete_index[row] >= 0:
                found.append(int(self.columns.complete_index[row]))
        return tuple(sorted(found))

    def moment(self, row: int, what: str) -> Moment:
        ended = self.ended(row)
        outcome = (
            "outcome unknown"
            if ended is None
            else f"failed at {seconds(ended)}"
            if self.columns.outcome[row] == FAIL
            else f"ok at {seconds(ended)}"
        )
        return Moment(
            self.began(row),
            f"process {self.process(row)} {what}: {outcome}",
            op=int(self.columns.invoke_index[row]),
        )


class Register:
    """The words for a register: what its operations read and wrote."""

    def __init__(self, calls: Calls) -> None:
        self.place = {int(row): n for n, row in enumerate(calls.row)}
        self.calls = calls

    def f(self, row: int) -> str:
        return self.calls.fs[int(self.calls.f[self.place[row]])]

    def value(self, row: int) -> Any:
        """Read or written."""
        n = self.place[row]
        if self.f(row) == "read":
            return self.calls.values[self.calls.answered[n]]
        asked = self.calls.values[self.calls.asked[n]]
        return asked[1] if self.f(row) == "cas" else asked

    def does(self, row: int) -> str:
        if self.f(row) == "read":
            return f"reads {quoted(self.value(row))}"
        if self.f(row) == "cas":
            old, new = self.calls.values[self.calls.asked[self.place[row]]]
            return f"compares with {quoted(old)} and sets {quoted(new)}"
        return f"writes {quoted(self.value(row))}"


def refined(proof: Evidence, calls: Calls) -> Evidence:
    """With what the whole history of the key knows: a value that is read was one of a failed write; an acknowledged
    write that a read missed was never seen by anybody."""
    register = Register(calls)
    if proof.label == PHANTOM and register.f(proof.culprit) == "read":
        value = calls.answered[register.place[proof.culprit]]
        writes = (calls.asked == value) & (calls.f == calls.fs.index("write"))
        failed = calls.outcome == FAIL
        if (writes & failed).any() and not (writes & ~failed).any():
            first = int(calls.row[writes & failed][0])
            return msgspec.structs.replace(proof, label=ABORTED, rows=(first, proof.culprit), newer=first)
    if (
        proof.label == STALE
        and proof.newer is not None
        and not _ever_seen(calls, register.value(proof.newer))
    ):
        return msgspec.structs.replace(proof, label=LOST)
    return proof


def _ever_seen(calls: Calls, value: Any) -> bool:
    """By a read or a compare-and-set."""
    reads = (calls.f == calls.fs.index("read")) & (calls.outcome != INFO) & (calls.outcome != FAIL)
    if any(calls.values[n] == value for n in calls.answered[reads]):
        return True
    if "cas" not in calls.fs:
        return False
    cas = (calls.f == calls.fs.index("cas")) & (calls.outcome != FAIL)
    return any(calls.values[n][0] == value for n in calls.asked[cas])


def explained(proof: Evidence, calls: Calls, prefix: Calls, columns: Columns, key: Any) -> Broken:
    telling, register = Telling(columns), Register(calls)
    rows = sorted(proof.rows, key=telling.began)
    story = compose(Beat(telling.moment(row, register.does(row))) for row in rows)
    ends = [ended for row in rows if (ended := telling.ended(row)) is not None]
    return Broken(
        name=proof.label if proof.label in (PHANTOM, ABORTED) else "nonlinearizable",
        label=proof.label,
        key=key,
        summary=_sentence(proof, register, telling),
        ops=telling.indices(rows),
        story=story,
        start=min(telling.began(row) for row in rows),
        end=max(ends, default=telling.began(rows[-1])),
        data={
            "label": proof.label,
            "key": key,
            "prefix_operations": int((prefix.outcome != FAIL).sum()),
            "culprit": int(columns.invoke_index[proof.culprit]),
        },
    )


def _sentence(proof: Evidence, register: Register, telling: Telling) -> str:
    culprit = proof.culprit
    who = f"process {telling.process(culprit)}"
    value = quoted(register.value(culprit))
    if proof.label == ABORTED:
        assert proof.newer is not None
        return (
            f"{who} read {value}, whose write by process {telling.process(proof.newer)} had certainly failed"
        )
    if proof.label == PHANTOM:
        if register.f(culprit) == "cas":
            return f"{who} {register.does(culprit)}, with success, but what it compared with was never there before"
        return f"{who} read {value}, which nobody had begun to write by then"
    if proof.label == UPDATE:
        other = proof.newer if proof.newer is not None else culprit
        return (
            f"{who} and process {telling.process(other)} both replaced "
            f"{quoted(_replaced(register, culprit))} with success"
        )
    newer = proof.newer
    if newer is None or newer < 0:
        return f"{who}'s {register.f(culprit)} of {value} fits no order with the operations beside it"
    writer, missed = telling.process(newer), quoted(register.value(newer))
    if proof.label in (STALE, LOST):
        acknowledged = telling.ended(newer)
        when = "" if acknowledged is None else f" at {seconds(acknowledged)}"
        tail = f"; nobody ever read {missed}" if proof.label == LOST else ""
        return (
            f"{who} read {value} by {_end(telling, culprit)}, which {missed}, written by process {writer} and "
            f"acknowledged{when}, had replaced before that read began at {seconds(telling.began(culprit))}{tail}"
        )
    seen = "" if proof.seen is None else f" (process {telling.process(proof.seen)} had read it)"
    return (
        f"{who} returned to {value} by {_end(telling, culprit)} after {missed}, written by process {writer}, had taken "
        f"its place{seen}"
    )


def _replaced(register: Register, row: int) -> Any:
    return register.calls.values[register.calls.asked[register.place[row]]][0]


def _end(telling: Telling, row: int) -> str:
    ended = telling.ended(row)
    return "the end" if ended is None else seconds(ended)


NO_ORDER = "no legal order"


def stuck(
    culprit: Call,
    open_calls: Sequence[Call],
    states: Sequence[Any],
    prefix: int,
    columns: Columns,
    key: Any,
    label: str = NO_ORDER,
) -> Broken:
    """For models that are searched: the operation that no legal order of all before it leaves room for, what ran
    beside it, and the states that those orders end in."""
    telling = Telling(columns)
    rows = sorted({culprit.row, *(c.row for c in open_calls)}, key=telling.began)
    by_row = {c.row: c for c in (culprit, *open_calls)}
    possible = ", ".join(quoted(_plain(state)) for state in states)
    return Broken(
        name="nonlinearizable",
        label=label,
        key=key,
        summary=(
            f"process {culprit.process}'s {_does(culprit)} by {_end(telling, culprit.row)} fits no legal order of the "
            f"{prefix} operations so far: at best they leave {possible or 'no state at all'}"
        ),
        ops=telling.indices(rows),
        story=compose(Beat(telling.moment(row, _does(by_row[row]))) for row in rows),
        start=min(telling.began(row) for row in rows),
        end=telling.ended(culprit.row) or telling.began(culprit.row),
        data={
            "label": label,
            "key": key,
            "prefix_operations": prefix,
            "culprit": int(columns.invoke_index[culprit.row]),
            "states": [str(_plain(state)) for state in states],
        },
    )


def _does(call: Call) -> str:
    asked = "" if call.asked is None else f" {quoted(call.asked)}"
    answer = f" → {quoted(_plain(call.answered))}" if call.certain and call.answered != call.asked else ""
    return f"{call.f}{asked}{answer}"


def _plain(state: Any) -> Any:
    return sorted(state, key=repr) if isinstance(state, frozenset) else state
