"""The log anomalies, decided as their definitions say, without any thought of speed: every question goes through the
whole history again. Knows `send`, `poll`, `end-offset` and `final-read`, and nothing of the checker."""

from __future__ import annotations

from typing import Any

from harness.history import History
from harness.ops import Op, Operation

Violation = tuple[str, str, Any, int | None]
"""(anomaly, partition, value, offset); for a disputed offset the value is None."""


def violations(history: History) -> set[Violation]:
    operations = history.operations
    partitions = {o.invoke.key for o in operations if o.f in ("send", "final-read")}
    partitions |= {name for o in operations for name, _, _ in records(o)}
    partitions |= {name for o in operations for name, _ in assigned(o)}
    found: set[Violation] = set()
    for name in partitions:
        log = Naive(operations, name)
        found |= log.absent() | log.duplicates() | log.disputed() | log.vanished() | log.dirty()
        found |= log.reordered() | log.jumps() | log.shrunk()
    return found


def records(operation: Operation) -> list[tuple[str, int, Any]]:
    if operation.f in ("poll", "final-read") and operation.outcome == "ok":
        return [tuple(r) for r in operation.value or []]
    return []


def assigned(operation: Operation) -> list[list[Any]]:
    if operation.f == "poll" and operation.completion is not None:
        return operation.completion.extra.get("assigned", [])
    return []


def values(operation: Operation) -> list[Any]:
    value = operation.invoke.value
    return value if isinstance(value, list) else [value]


def completion(operation: Operation) -> Op:
    assert operation.completion is not None
    return operation.completion


def offsets(operation: Operation) -> list[int | None]:
    if operation.completion is None:
        return [None] * len(values(operation))
    extra = operation.completion.extra
    if isinstance(operation.invoke.value, list):
        return extra.get("offsets") or [None] * len(values(operation))
    return [extra.get("offset")]


class Naive:
    def __init__(self, operations: list[Operation], name: str) -> None:
        self.operations = operations
        self.name = name
        self.sends = [o for o in operations if o.f == "send" and o.invoke.key == name]
        self.reads = [(o, r[1], r[2]) for o in operations for r in records(o) if r[0] == name]
        self.final, self.chain, self.end, self.hidden = self.find_final()

    def find_final(self) -> tuple[dict[int, Any] | None, list[Operation], int, bool]:
        """The last chain that arrived, unless it went on and did not arrive again."""
        answer: tuple[dict[int, Any] | None, list[Operation], int, bool] = (None, [], 0, False)
        chains: dict[Any, list[Operation]] = {}
        for o in self.operations:
            if o.f != "final-read" or o.invoke.key != self.name or o.outcome != "ok":
                continue
            extra = completion(o).extra
            if extra["from"] == 0:
                chains[o.process] = []
            chain = chains.get(o.process)
            if chain is None or (chain and completion(chain[-1]).extra["next"] != extra["from"]):
                chains.pop(o.process, None)
                continue
            if not chain and extra["from"] != 0:
                continue
            chain.append(o)
            log = {r[1]: r[2] for part in chain for r in records(part)}
            arrived = extra.get("reached") and extra["next"] >= extra["end"]
            if arrived:
                hidden = extra["end"] < extra.get("high_watermark", extra["end"])
                answer = (log, list(chain), extra["end"], hidden)
            elif answer[1] and answer[1][0] is chain[0]:
                answer = (None, [], 0, False)
        return answer

    def order(self) -> dict[int, Any]:
        if self.final is not None:
            return self.final
        seen = sorted({offset for _, offset, _ in self.reads})
        agreed = {o: {v for _, offset, v in self.reads if offset == o} for o in seen}
        return {o: next(iter(vs)) for o, vs in agreed.items() if len(vs) == 1}

    def absent(self) -> set[Violation]:
        found: set[Violation] = set()
        done: set[Any] = set()
        for send in self.sends:
            for value, offset in zip(values(send), offsets(send), strict=True):
                if send.outcome != "ok" or value in done:
                    continue
                done.add(value)
                if self.final is not None:
                    if value in self.final.values():
                        continue
                    late = completion(send).index > self.chain[0].invoke.index
                    unsure = self.hidden and (offset is None or offset >= self.end)
                    found.add(("unseen" if late or unsure else "lost-write", self.name, value, offset))
                elif not any(v == value for _, _, v in self.reads):
                    passed = offset is not None and any(
                        low <= offset <= high and poll.invoke.index > completion(send).index
                        for poll, low, high in self.passages()
                    )
                    found.add(("lost-write" if passed else "unseen", self.name, value, offset))
        return found

    def passages(self) -> list[tuple[Operation, int, int]]:
        passages = []
        for poll in self.operations:
            got = [r[1] for r in records(poll) if r[0] == self.name] if poll.f == "poll" else []
            if got:
                start = self.due(poll)
                passages.append((poll, got[0] if start is None else start, max(got)))
        return passages

    def due(self, poll: Operation) -> int | None:
        """Where the poll's process stood in this partition before its records."""
        for name, start in assigned(poll):
            if name == self.name:
                return int(start)
        earlier = [
            o for o in self.operations if o.process == poll.process and o.invoke.index < poll.invoke.index
        ]
        for o in reversed(earlier):
            got = [r[1] for r in records(o) if r[0] == self.name] if o.f == "poll" else []
            if got:
                return got[-1] + 1
            for name, start in assigned(o):
                if name == self.name:
                    return int(start)
        return None

    def writers(self, value: Any) -> list[Operation]:
        return [s for s in self.sends if value in values(s)]

    def failed(self, value: Any) -> bool:
        return bool(self.writers(value)) and all(s.outcome == "fail" for s in self.writers(value))

    def duplicates(self) -> set[Violation]:
        found: set[Violation] = set()
        order = self.order()
        for value in set(order.values()):
            places = sorted(o for o, v in order.items() if v == value)
            possible = sum(values(s).count(value) for s in self.sends if s.outcome != "fail")
            if self.writers(value) and len(places) > 1 and len(places) > possible:
                found.add(("duplicate", self.name, value, places[0]))
        return found

    def disputed(self) -> set[Violation]:
        told = [
            (o, v) for s in self.sends for v, o in zip(values(s), offsets(s), strict=True) if o is not None
        ]
        told += [(offset, value) for _, offset, value in self.reads]
        return {
            ("inconsistent-offsets", self.name, None, offset)
            for offset, value in told
            if any(o == offset and v != value for o, v in told)
        }

    def vanished(self) -> set[Violation]:
        if self.final is None:
            return set()
        return {
            ("vanished-read", self.name, value, offset)
            for read, offset, value in self.reads
            if self.final.get(offset) != value
            and completion(read).index < self.chain[0].invoke.index
            and not self.failed(value)
        }

    def dirty(self) -> set[Violation]:
        found: set[Violation] = set()
        for value in {v for _, _, v in self.reads}:
            read, offset = next((o, off) for o, off, v in self.reads if v == value)
            writers = self.writers(value)
            if self.failed(value):
                found.add(("aborted-read", self.name, value, offset))
            early = all(s.invoke.index > completion(read).index for s in writers)
            if self.sends and early:
                found.add(("phantom-read", self.name, value, offset))
        return found

    def reordered(self) -> set[Violation]:
        """Against every earlier record of the process, not only the highest."""
        order = self.order()
        first = {v: min(o for o, w in order.items() if w == v) for v in order.values()}
        sent = [(s, v) for s in self.sends if s.outcome != "fail" for v in values(s) if v in first]
        found: set[Violation] = set()
        for i, (later, second) in enumerate(sent):
            for earlier, value in sent[:i]:
                if earlier.process == later.process and first[second] < first[value]:
                    name = "int-nonmonotonic-send" if earlier is later else "nonmonotonic-send"
                    found.add((name, self.name, second, first[second]))
        return found

    def jumps(self) -> set[Violation]:
        order = self.order()
        found: set[Violation] = set()
        for poll in self.operations:
            if poll.f != "poll":
                continue
            due, inside = self.due(poll), False
            for name, offset, value in records(poll):
                if name != self.name:
                    continue
                if due is not None and offset < due:
                    found.add(("nonmonotonic-poll", name, value, offset))
                elif due is not None and order.get(offset) == value:
                    skipped = [o for o, v in order.items() if due <= o < offset and not self.failed(v)]
                    if skipped:
                        found.add(("int-poll-skip" if inside else "poll-skip", name, value, offset))
                due, inside = offset + 1, True
        return found

    def shrunk(self) -> set[Violation]:
        answers: list[tuple[Operation, int, bool]] = []
        for o in self.operations:
            if o.f == "end-offset" and o.outcome == "ok":
                answers += [(o, end, False) for name, end in o.value if name == self.name]
            if o.f == "final-read" and o.invoke.key == self.name and o.outcome == "ok":
                extra = completion(o).extra
                answers.append((o, max(extra["end"], extra.get("high_watermark", 0)), True))
        for asked, end, final in answers:
            earlier = [e for o, e, _ in answers if completion(o).index < asked.invoke.index]
            if final and any(e > end for e in earlier):
                return {("nonmonotonic-end-offset", self.name, None, end)}
        return set()
