"""Model `kafka`: what transactions over a log promise, and the cycles that they rule out.

Kafka's transactions are atomic and isolate reads of committed records from what is not committed; they do not isolate
writes (rule 4, semantics 1c). So of the cycles only those of `wr` edges alone are violations: two transactions of which
each polled what the other sent cannot both have been committed before they were read. With the `ww` edges that offsets
give, G0 and `ww-G1c` are everyday life: they are told, and allowed. There is no `rw` edge, because a consumer is where
it is: a poll that does not show a record says nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from checkers.blame import blame
from checkers.log.observations import Final as FinalRead
from checkers.log.observations import hashable, observe
from checkers.outages import outages
from checkers.story import active_between
from checkers.transactions.cycles import Cycle, find_cycles
from checkers.transactions.direct import Direct, Directs, Inference
from checkers.transactions.explain import Teller
from checkers.transactions.graph import WR, WW, Graph, edges, union
from checkers.transactions.kafka_loading import Offsets, from_log
from checkers.transactions.micro_operations import FAIL, INFO, OK, READ, WRITE, Flags, Ints, Transactions
from checkers.transactions.micro_operations import named_key as named
from checkers.transactions.versions import Writers, writers
from harness.checker import CheckContext
from harness.history import History
from harness.results import Anomaly, Result, Verdict

ANOMALIES_OF_LOGS: Final[Mapping[str, str]] = {
    "garbage-read": "a value was read that nobody wrote",
    "aborted-read": "a record was polled whose transaction was aborted for certain (G1a)",
    "precommitted-read": "a transaction polled a record that it had sent itself and not yet committed",
    "torn-txn": "when everything has come to rest, some records of a transaction are there and not all",
    "ww-G1c": "a cycle of wr and, by offsets, ww; allowed, because Kafka does not isolate writes",
}
"""Beside the cycles, whose names and meanings are those of every model."""
READ_COMMITTED: Final = "read_committed"
FORBIDDEN: Final = ("garbage-read", "aborted-read", "precommitted-read", "torn-txn", "G1c")
"""In this order they are told; G1c with its forms that need an order of time."""


def judge_log(history: History, context: CheckContext) -> Result:
    txns, offsets = from_log(history)
    isolation = isolation_of(history, context)
    finals = _final_reads(history)
    inference, settled = infer(txns, offsets, finals, isolation)
    anomalies = tuple(_anomalies(history, context, txns, inference))
    violated = any(not anomaly.allowed for anomaly in anomalies)
    reason = None if violated else too_thin(txns, finals)
    verdict = Verdict.INVALID if violated else Verdict.VALID if reason is None else Verdict.UNKNOWN
    names = [a.name for a in anomalies if not a.allowed]
    return Result(
        checker="elle",
        verdict=verdict,
        reason=reason,
        anomalies=anomalies,
        measures={
            "model": "kafka",
            "isolation": isolation,
            "told": f"transactions  not atomic, or not isolated from what was uncommitted: {', '.join(names)}"
            if names
            else "transactions  nothing rules out that they are atomic and that reads show committed records only",
            "transactions": len(txns),
            "committed": int(inference.committed.sum()),
            "edges": len(inference.graph),
            "judged_whole_or_torn": settled,
        },
    )


def isolation_of(history: History, context: CheckContext) -> str:
    """As the reads tell it, else as it is configured."""
    told = (str(op.extra["isolation"]) for op in history.ops if "isolation" in op.extra)
    return next(told, str(context.config.get("isolation.level", READ_COMMITTED)))


def _final_reads(history: History) -> dict[str, FinalRead | None]:
    """Of every partition that was read back, the authoritative log (None: not read to its end)."""
    seen = observe(History(op for op in history.ops if op.f == "final-read"))
    return {name: partition.final for name, partition in seen.partitions.items()}


def infer(
    txns: Transactions, offsets: Offsets, finals: dict[str, FinalRead | None], isolation: str
) -> tuple[Inference, int]:
    """Also of how many transactions it could be told whether they are whole."""
    wrote = writers(txns, "sends")
    reads = np.flatnonzero(txns.kind == READ)
    write = wrote.find(txns.key[reads], txns.value[reads])
    known = write >= 0
    directs = Directs()
    _tell(txns, directs, "garbage-read", reads[~known], write[~known], "which nobody sent")
    reads, write = reads[known], write[known]
    own = txns.txn[reads] == txns.txn[write]
    _tell(txns, directs, "precommitted-read", reads[own], write[own], "before that was committed")
    reads, write = reads[~own], write[~own]
    outcome = txns.outcome[txns.txn[write]]
    _tell(txns, directs, "aborted-read", reads[outcome == FAIL], write[outcome == FAIL], "which was aborted")
    committed = txns.outcome == OK
    if isolation == READ_COMMITTED:
        # Rule 2 (semantics 1c): what was read at read_committed was committed, whatever its producer was told.
        committed[txns.txn[write[outcome == INFO]]] = True
    settled = _torn(txns, directs, finals, isolation)
    sound = committed[txns.txn[write]]
    wr = edges(WR, len(txns), txns.txn[write[sound]], txns.txn[reads[sound]], write[sound], reads[sound])
    ww = _overwrites(txns, wrote, offsets, committed)
    return Inference(committed, union(len(txns), [wr, ww]), directs), settled


def _overwrites(txns: Transactions, wrote: Writers, offsets: Offsets, committed: Flags) -> Graph:
    """ww: of two committed sends that follow each other in a partition, the first one's transaction comes first."""
    before: list[int] = []
    after: list[int] = []
    by_value: dict[tuple[str, Any], int] = {}
    for op in np.flatnonzero(txns.kind == WRITE).tolist():
        if committed[txns.txn[op]]:
            by_value[txns.keys[int(txns.key[op])], hashable(txns.plain_value(int(txns.value[op])))] = op
    for partition in sorted(offsets.seen):
        order = [by_value.get((partition, hashable(value))) for value in offsets.order(partition)]
        writes = [op for op in order if op is not None]
        before += writes[:-1]
        after += writes[1:]
    first, second = np.array(before, dtype=np.int64), np.array(after, dtype=np.int64)
    return edges(WW, len(txns), txns.txn[first], txns.txn[second], first, second)


def _tell(txns: Transactions, directs: Directs, name: str, ops: Ints, writes: Ints, why: str) -> None:
    """One instance a value: the first read that shows it."""
    _, firsts = np.unique(np.stack([txns.key[ops], txns.value[ops]]), axis=1, return_index=True)
    places = np.sort(firsts)

    def told() -> Iterator[Direct]:
        for op, write in zip(ops[places].tolist(), writes[places].tolist(), strict=True):
            reader = int(txns.txn[op])
            value = txns.plain_value(int(txns.value[op]))
            by = () if write < 0 else (int(txns.txn[write]),)
            of = "" if not by else " of its own" if by[0] == reader else f" of {txns.name(by[0])}"
            yield Direct(
                name,
                tuple(dict.fromkeys((*by, reader))),
                (op, *(() if write < 0 else (write,))),
                f"{txns.name(reader)} polled {value!r}{of} from {named(txns.keys[int(txns.key[op])])}, {why}",
            )

    directs.add(name, len(places), told())


def _torn(txns: Transactions, directs: Directs, finals: dict[str, FinalRead | None], isolation: str) -> int:
    """`torn-txn`: the final read shows some sends of a transaction and not all. It does not matter what its producer
    was told: one visible send proves that it was committed. Judged where every partition that it sent to was read to
    its end with nothing hidden and nothing removed from its beginning; of an aborted one, what is visible is an
    `aborted-read`."""
    if isolation != READ_COMMITTED or not finals:
        return 0
    values = {
        name: set(final.values.values())
        for name, final in finals.items()
        if final is not None and not final.hidden and not final.log_start
    }
    found: list[Direct] = []
    settled = 0
    for txn in range(len(txns)):
        sends = [op for op in txns.micro_operations(txn) if txns.kind[op] == WRITE]
        names = [str(txns.keys[int(txns.key[op])]) for op in sends]
        if not sends or txns.outcome[txn] == FAIL or any(name not in values for name in names):
            continue
        settled += 1
        plain = [txns.plain_value(int(txns.value[op])) for op in sends]
        shown = [hashable(v) in values[name] for v, name in zip(plain, names, strict=True)]
        if any(shown) and not all(shown):
            here, gone = shown.index(True), shown.index(False)
            found.append(
                Direct(
                    "torn-txn",
                    (txn,),
                    (sends[here], sends[gone]),
                    f"of the {len(sends)} records that {txns.name(txn)} sent, the final read shows {sum(shown)}: "
                    f"{plain[here]!r} stands in {names[here]}, {plain[gone]!r} is missing from {names[gone]}",
                )
            )
    directs.add("torn-txn", len(found), found)
    return settled


def too_thin(txns: Transactions, finals: dict[str, FinalRead | None]) -> str | None:
    """Rule 11 (semantics 1c): why silence would prove nothing, with the number; None where it does."""
    sent = int(((txns.kind == WRITE) & (txns.outcome[txns.txn] == OK)).sum())
    polled = int((txns.kind == READ).sum())
    if not sent:
        return f"0 of {len(txns)} transactions committed a send"
    if not polled:
        return f"nothing was polled of {sent} committed sends"
    unread = sorted(name for name, final in finals.items() if final is None)
    if unread:
        return f"{len(unread)} partitions were not read to their end: {', '.join(unread)}"
    hidden = sorted(name for name, final in finals.items() if final is not None and final.hidden)
    if hidden:
        return f"open transactions hide the end of {len(hidden)} partitions: {', '.join(hidden)}"
    return None


# ── anomalies ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Found:
    """Cycles by the name under which they are told, each with the class that its edges make."""

    cycles: dict[str, list[tuple[str, Cycle]]] = field(default_factory=dict)

    def add(self, name: str, shape: str, cycles: Iterable[Cycle]) -> None:
        shown = [(shape, cycle) for cycle in cycles]
        if shown:
            self.cycles.setdefault(name, []).extend(shown)


def _cycles(txns: Transactions, inference: Inference) -> _Found:
    found = _Found()
    reads_only = inference.graph.only(inference.graph.kind == WR)
    rows = np.flatnonzero(inference.graph.kind == WR)
    for shape, cycles in find_cycles(txns, reads_only, inference.committed).found.items():
        found.add(shape, shape, [_renumbered(cycle, rows) for cycle in cycles])
    for shape, cycles in find_cycles(txns, inference.graph, inference.committed).found.items():
        with_ww = [cycle for cycle in cycles if any(step.kind == WW for step in cycle)]
        found.add("ww-G1c" if shape.startswith("G1c") else "G0", shape, with_ww)
    return found


def _renumbered(cycle: Cycle, rows: Ints) -> Cycle:
    """From rows of a part of the graph to those of the whole."""
    return tuple(
        step if step.edge < 0 else type(step)(step.source, step.target, step.kind, int(rows[step.edge]))
        for step in cycle
    )


def _anomalies(
    history: History, context: CheckContext, txns: Transactions, inference: Inference
) -> list[Anomaly]:
    teller = Teller(txns, inference, "kafka", assumed_order=True)
    faults = outages(history)

    def made(name: str, summary: str, rows: Sequence[int], affected: int, data: dict[str, Any]) -> Anomaly:
        return Anomaly(
            name=name,
            summary=summary,
            ops=teller.indices(rows)[:60],
            blame=blame(name, history, context),
            affected=affected,
            faults=active_between(faults, *teller.span(rows)),
            story=teller.story(rows[:4]),
            allowed=not name.startswith(FORBIDDEN),
            data=data,
        )

    found: list[Anomaly] = []
    for name, instances in inference.directs.instances.items():
        first = instances[0]
        data = {**teller.direct(first), "instances": [{"summary": d.sentence} for d in instances]}
        rows = [t for direct in instances for t in direct.txns]
        anomaly = made(name, first.sentence, rows, inference.directs.counts[name], data)
        where = str(txns.keys[int(txns.key[first.ops[0]])])
        found.append(msgspec.structs.replace(anomaly, where=where, out_of=len(txns)))
    for name, cycles in _cycles(txns, inference).cycles.items():
        told = [teller.cycle(shape, cycle) for shape, cycle in cycles]
        rows = [step.source for _, cycle in cycles for step in cycle]
        data = {**told[0][1], "instances": [{"summary": text, **d} for text, d in told[:20]]}
        found.append(made(name, told[0][0], rows, len(cycles), data))
    return sorted(found, key=lambda a: (a.allowed, a.name))
