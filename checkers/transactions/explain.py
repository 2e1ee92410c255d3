"""Cycles in words: a sentence an edge, the transactions with what they read and wrote, and the raw operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from checkers.transactions.cycles import Cycle
from checkers.transactions.direct import Direct, Inference
from checkers.transactions.graph import NAMES, RW, WW
from checkers.transactions.micro_operations import (
    NEVER,
    OK,
    READ,
    Ints,
    Model,
    Transactions,
    named_key,
    shown,
)
from checkers.transactions.verify import Link, Plain, verify
from harness.results import Moment

MOST_MICRO = 40
"""Micro-operations of a transaction that are told: the final read of a log is one of thousands."""


class Teller:
    """Tells of one history. `verify` is asked before any cycle is told."""

    def __init__(
        self, txns: Transactions, inference: Inference, model: Model, *, assumed_order: bool
    ) -> None:
        self._txns = txns
        self._inference = inference
        self._model: Model = model
        self._assumed_order = assumed_order
        self._counts: dict[int, set[int]] = {}
        self._plain: dict[int, Plain] = {}

    @cached_property
    def _writes(self) -> Ints:
        """By key."""
        writes = np.flatnonzero(self._txns.kind != READ)
        by_key: Ints = writes[np.argsort(self._txns.key[writes], kind="stable")]
        return by_key

    def cycle(self, name: str, cycle: Cycle) -> tuple[str, dict[str, Any]]:
        """One sentence for all of it, and the picture's raw material. Raises `WrongCycle` (a bug)."""
        links = [self._link(step.source, step.target, step.kind, step.edge) for step in cycle]
        verify(name, links, self._model, assumed_order=self._assumed_order)
        sentences = [self.sentence(link) for link in links]
        edges = [
            {"from": link.source.name, "to": link.target.name, "kind": link.kind, "key": link.key, "why": why}
            for link, why in zip(links, sentences, strict=True)
        ]
        way = " -> ".join(f"{link.source.name} ({link.kind})" for link in links)
        told = f"{way} -> {links[0].source.name}: " + "; ".join(sentences)
        return told, {"cycle": edges, "transactions": self.transactions([s.source for s in cycle])}

    def _link(self, source: int, target: int, kind: int, edge: int) -> Link:
        before, after = self.plain(source), self.plain(target)
        if edge < 0:
            return Link(NAMES[kind], before, after)
        txns = self._txns
        evidence, cause = int(self._inference.graph.evidence[edge]), int(self._inference.graph.cause[edge])
        key = int(txns.key[cause])
        order: list[Any] = []
        left_out: list[Any] = []
        if self._model == "list-append":
            of = [*txns.micro_operations(source), *txns.micro_operations(target)]
            reads = [op for op in of if txns.kind[op] == READ and txns.key[op] == key]
            order, left_out = self._order(key, reads)
        written = None if kind not in (WW, RW) else txns.plain_value(int(txns.value[cause]))
        if kind == RW and self._model == "list-append":
            seen = self._last_read(evidence, left_out)
        else:
            seen = txns.plain_value(int(txns.value[evidence]))
        return Link(NAMES[kind], before, after, txns.keys[key], seen, written, order, left_out)

    def _order(self, key: int, ops: Sequence[int]) -> tuple[list[Any], list[Any]]:
        """The read that shows the order of a key, without what its transaction appended itself at the end, and those
        values in it, or in the reads `ops`, that count for nothing."""
        txns, shown_by = self._txns, int(self._inference.shown_by[key])
        counts = self._counting(key)
        order = [] if shown_by < 0 else self._without_own_end(shown_by)
        read = [code for op in ops for code in self._codes(op)]
        left_out = [code for code in dict.fromkeys([*order, *read]) if code not in counts]
        return [txns.plain_value(c) for c in order], [txns.plain_value(c) for c in left_out]

    def _counting(self, key: int) -> set[int]:
        """The codes of the values of a key that committed transactions wrote."""
        if key not in self._counts:
            txns = self._txns
            committed = self._inference.committed
            if key in self._inference.without_unknown:
                committed = committed & (txns.outcome == OK)
            begin, end = np.searchsorted(txns.key[self._writes], [key, key + 1])
            writes = self._writes[begin:end]
            self._counts[key] = set(txns.value[writes[committed[txns.txn[writes]]]].tolist())
        return self._counts[key]

    def _codes(self, op: int) -> list[int]:
        start = int(self._txns.start[op])
        codes: list[int] = self._txns.elements[start : start + int(self._txns.length[op])].tolist()
        return codes

    def _own(self, txn: int, key: int) -> set[int]:
        """The codes of what a transaction appended to a key."""
        t = self._txns
        ops = t.micro_operations(txn)
        return {int(t.value[op]) for op in ops if t.kind[op] != READ and t.key[op] == key}

    def _without_own_end(self, op: int) -> list[int]:
        codes = self._codes(op)
        own = self._own(int(self._txns.txn[op]), int(self._txns.key[op]))
        while codes and codes[-1] in own:
            codes.pop()
        return codes

    def _last_read(self, op: int, left_out: list[Any]) -> Any:
        """The version that a read saw: its last element that somebody else put there and that counts."""
        own = self._own(int(self._txns.txn[op]), int(self._txns.key[op]))
        seen = [self._txns.plain_value(code) for code in self._codes(op) if code not in own]
        return next((value for value in reversed(seen) if value not in left_out), None)

    def plain(self, txn: int) -> Plain:
        if txn not in self._plain:
            t = self._txns
            ended = int(t.completed[txn])
            self._plain[txn] = Plain(
                t.name(txn),
                int(t.process[txn]),
                int(t.invoked[txn]),
                None if ended == NEVER else ended,
                t.plain(txn, self._model),
            )
        return self._plain[txn]

    def sentence(self, link: Link) -> str:
        """Why the source comes before the target."""
        before, after, key = link.source.name, link.target.name, link.key
        so = f"so {before} is before {after}"
        lists = self._model == "list-append"
        if self._model == "kafka" and link.kind in ("wr", "ww"):
            if link.kind == "wr":
                return f"{after} polled {link.seen!r} from {named_key(key)}, and {before} had sent it, {so}"
            return f"{after} sent {link.written!r} to {named_key(key)} right behind {link.seen!r} of {before}, {so}"
        if link.kind == "rt":
            return f"{before} had ended before {after} began"
        if link.kind == "po":
            return f"{before} came before {after} in the same process"
        if link.kind == "wr":
            what = "appended the last of it" if lists else "wrote it"
            return (
                f"{after} read {named_key(key)} = {self._read(link.target, link)}, and {before} {what}, {so}"
            )
        if link.kind == "ww":
            if lists:
                return f"{after} appended {link.written!r} to {named_key(key)} right after {link.seen!r} of {before}, {so}"
            return f"{after} wrote {named_key(key)} = {link.written!r} over {link.seen!r} of {before}, {so}"
        read = f"{before} read {named_key(key)} = {self._read(link.source, link)}"
        if not lists:
            return f"{read}; {after} wrote {link.written!r} over it, {so}"
        if link.written not in link.order:
            return f"{read}, all that was ever read of it; {after} appended {link.written!r}, {so}"
        right = f"right after {link.seen!r}" if link.seen is not None else "as its first"
        return f"{read}; {after} appended {link.written!r} {right}, {so}"

    def _read(self, plain: Plain, link: Link) -> str:
        for f, key, seen in plain.operations:
            if f == "r" and key == link.key:
                if not isinstance(seen, list):
                    if seen == link.seen:
                        return repr(seen)
                elif link.seen is None or link.seen in seen:
                    return shown(seen)
        return repr(link.seen)

    def transactions(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """For the picture: who, when, and every micro-operation."""
        t = self._txns
        return [
            {
                "name": t.name(row),
                "process": t.processes[int(t.process[row])],
                "invoked": int(t.invoke_index[row]),
                "completed": int(t.complete_index[row]) if t.complete_index[row] >= 0 else None,
                "outcome": ("ok", "fail", "info")[int(t.outcome[row])],
                "operations": [list(micro) for micro in self.plain(row).operations[:MOST_MICRO]],
            }
            for row in dict.fromkeys(rows)
        ]

    def direct(self, direct: Direct) -> dict[str, Any]:
        return {"transactions": self.transactions(direct.txns)}

    def story(self, rows: Sequence[int]) -> tuple[Moment, ...]:
        """Beginnings and ends in order of time."""
        t = self._txns
        beats: list[tuple[int, Moment]] = []
        for row in dict.fromkeys(rows):
            operations = self.plain(row).operations
            what = ", ".join(_micro(m) for m in operations[:MOST_MICRO])
            if len(operations) > MOST_MICRO:
                what += f", … {len(operations) - MOST_MICRO} more"
            began = Moment(int(t.invoke_time[row]), f"{t.name(row)} begins", int(t.invoke_index[row]))
            beats.append((int(t.invoked[row]), began))
            if t.complete_index[row] >= 0:
                outcome = ("is committed", "fails", "ends with an unknown outcome")[int(t.outcome[row])]
                end = Moment(
                    int(t.complete_time[row]), f"{t.name(row)} {outcome}: {what}", int(t.complete_index[row])
                )
                beats.append((int(t.completed[row]), end))
        return tuple(moment for _, moment in sorted(beats, key=lambda b: (b[1].time, b[1].op or 0)))

    def indices(self, rows: Sequence[int]) -> tuple[int, ...]:
        t = self._txns
        pairs = ((int(t.invoke_index[row]), int(t.complete_index[row])) for row in dict.fromkeys(rows))
        return tuple(index for pair in pairs for index in pair if index >= 0)

    def span(self, rows: Sequence[int]) -> tuple[int, int]:
        """From the first beginning to the last end, in nanoseconds."""
        t = self._txns
        begin = min(int(t.invoke_time[row]) for row in rows)
        return begin, max([begin, *(int(t.complete_time[row]) for row in rows)])


def _micro(micro: tuple[str, Any, Any]) -> str:
    f, key, value = micro
    if f == "poll":
        return f"poll {value!r} of {named_key(key)}"
    if f != "r":
        return f"{f} {named_key(key)} {value!r}"
    return f"read {named_key(key)} = {shown(value) if isinstance(value, list) else repr(value)}"
