"""Cycles in words: a sentence an edge, the transactions with what they read and wrote, and the raw operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from checkers.transactions.cycles import Cycle
from checkers.transactions.direct import Direct, Inference
from checkers.transactions.graph import NAMES, RW, WW
from checkers.transactions.micro_operations import (
    NEVER,
    OK,
    READ,
    Model,
    Transactions,
    named_key,
    shown,
)
from checkers.transactions.verify import Link, Plain, verify
from harness.results import Moment


class Teller:
    """Tells of one history. `verify` is asked before any cycle is told."""

    def __init__(
        self, txns: Transactions, inference: Inference, model: Model, *, assumed_order: bool
    ) -> None:
        self._txns = txns
        self._inference = inference
        self._model: Model = model
        self._assumed_order = assumed_order
        self._shown_by: dict[int, int] = {}
        self._plain: dict[int, Plain] = {}

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
        order, left_out = self._order(key, before, after) if self._model == "list-append" else ((), ())
        written = None if kind not in (WW, RW) else txns.plain_value(int(txns.value[cause]))
        if kind != RW:
            seen = txns.plain_value(int(txns.value[evidence]))
        elif self._model == "list-append":
            own = {v for f, k, v in before.operations if f == "append" and k == txns.keys[key]}
            others = [v for v in txns.seen(evidence) if v not in own and v not in left_out]
            seen = others[-1] if others else None
        else:
            seen = txns.plain_value(int(txns.value[evidence]))
        return Link(NAMES[kind], before, after, txns.keys[key], seen, written, order, left_out)

    def _order(self, key: int, *of: Plain) -> tuple[Sequence[Any], Sequence[Any]]:
        """The longest read of a key by a committed transaction without what it appended itself at the end, and those
        values in it, or in the reads of the transactions in question, that count for nothing."""
        txns = self._txns
        op = self._shown_by.get(key)
        writes = np.flatnonzero((txns.key == key) & (txns.kind != READ))
        counting = self._inference.committed.copy()
        if key in self._inference.without_unknown:
            counting &= txns.outcome == OK
        counts = {txns.plain_value(int(txns.value[w])) for w in writes if counting[txns.txn[w]]}
        if op is None:
            reads = np.flatnonzero((txns.key == key) & (txns.kind == READ) & (txns.outcome[txns.txn] == OK))
            best: list[Any] = []
            for read in reads.tolist():
                seen = self._without_own_end(int(read))
                if len([v for v in seen if v in counts]) > len(best):
                    best, op = [v for v in seen if v in counts], int(read)
            self._shown_by[key] = -1 if op is None else op
        order = self._without_own_end(op) if op is not None and op >= 0 else []
        name = txns.keys[key]
        theirs = [
            v for plain in of for f, k, seen in plain.operations if f == "r" and k == name for v in seen
        ]
        return order, [v for v in dict.fromkeys([*order, *theirs]) if v not in counts]

    def _without_own_end(self, op: int) -> list[Any]:
        seen = self._txns.seen(op)
        txn = int(self._txns.txn[op])
        key = self._txns.keys[int(self._txns.key[op])]
        own = [v for f, k, v in self.plain(txn).operations if f == "append" and k == key]
        while seen and seen[-1] in own:
            seen.pop()
        return seen

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
                "process": int(t.process[row]),
                "invoked": int(t.invoke_index[row]),
                "completed": int(t.complete_index[row]) if t.complete_index[row] >= 0 else None,
                "outcome": ("ok", "fail", "info")[int(t.outcome[row])],
                "operations": [list(micro) for micro in self.plain(row).operations],
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
            what = ", ".join(_micro(m) for m in self.plain(row).operations)
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
    if f != "r":
        return f"{f} {named_key(key)} {value!r}"
    return f"read {named_key(key)} = {shown(value) if isinstance(value, list) else repr(value)}"
