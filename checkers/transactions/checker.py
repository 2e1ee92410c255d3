"""Checker `elle`: which isolation did the clients get, by the cycles that what they saw makes impossible?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from checkers.outages import Outage, outages
from checkers.story import active_between
from checkers.transactions import list_append, rw_register
from checkers.transactions.cycles import Cycles, find_cycles
from checkers.transactions.direct import Inference, nothing
from checkers.transactions.explain import Teller
from checkers.transactions.fractured import fractured_reads
from checkers.transactions.kafka import ANOMALIES_OF_LOGS, judge_log
from checkers.transactions.loading import TransactionHistory, from_history, read_transactions
from checkers.transactions.micro_operations import OK, READ, WRITE, Model, Transactions, named_key
from checkers.transactions.models import DEFAULT, MODELS, forbidden, gravity, named, ruled_out, strongest
from checkers.transactions.versions import WrittenTwice
from checkers.transactions.written_twice import without_doubles
from harness.checker import CheckContext
from harness.errors import unknown_name
from harness.history import History, read_history
from harness.results import LEFT_OUT, Anomaly, Result, Verdict

_CYCLES = {
    "G0": "a cycle of writes over each other (ww): dirty write",
    "G1c": "a cycle of ww and wr: information flows in a circle",
    "G-single": "a cycle with exactly one rw: read skew",
    "G-nonadjacent": "a cycle with two or more rw, no two of them adjacent",
    "G2-item": "a cycle with two adjacent rw: write skew",
}
ANOMALIES: Mapping[str, str] = {
    "garbage-read": "a value was read that nobody wrote",
    "duplicate-elements": "a list holds one element twice",
    "incompatible-order": "two reads of a list are no prefixes of each other",
    "cyclic-versions": "the versions of one key follow each other in a circle",
    "internal": "a read contradicts what the same transaction had read or written before",
    "G1a": "a read shows a write of a transaction that certainly failed",
    "G1b": "a read shows a version that its writer itself overwrote",
    "dirty-update": "a committed append stands right behind one of a transaction that certainly failed",
    "lost-update": "two committed transactions read one version of a key and both wrote the key",
    "fractured-read": "a transaction saw one write of another and missed a second one",
    "long-fork": "two readers saw two independent writes in opposite orders",
    **_CYCLES,
    **{f"{name}-process": f"{told}; it takes the order of a process" for name, told in _CYCLES.items()},
    **{f"{name}-realtime": f"{told}; it takes the order of real time" for name, told in _CYCLES.items()},
}
ISOLATION = {
    "read-uncommitted": "read-committed",
    "read-committed": "read-committed",
    "repeatable-read": "snapshot-isolation",
    "serializable": "serializable",
}
"""What a setting `isolation` promises (PostgreSQL's meaning of the names), if no model is asked for."""
UNSEEN = "G2 over predicates cannot be seen in reads of items"


class ElleChecker:
    description = (
        "isolation of transactions (list-append, rw-register, kafka): anomalies, cycles, models ruled out"
    )
    anomalies: Mapping[str, str] = {**ANOMALIES, **ANOMALIES_OF_LOGS}
    models: Mapping[str, str] = {
        "list-append": "transactions of [append, k, v] and [r, k, list]; a list shows its own past",
        "rw-register": "transactions of [w, k, v] and [r, k, v]; every value of a key is written once",
        "kafka": "transactions of [send, k, v] and [poll, {k: [[offset, v], …]}] over a log, which does not isolate writes",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        model = model_of(context)
        if model == "kafka":
            return judge_log(history, context)
        if isinstance(history, TransactionHistory) and history.model == model:
            txns = history.transactions
        else:
            txns = from_history(history, model)
        return judge(txns, context, outages(history))

    def validate(self, config: Mapping[str, Any]) -> None:
        """Raises `UserError` with the nearest known name of a model."""
        context = CheckContext(config=config)
        model_of(context)
        promised(context)

    def read(self, path: Path, context: CheckContext) -> History:
        """A `history.jsonl` in the form that this checker judges, without an object an event."""
        model = model_of(context)
        return read_history(path) if model == "kafka" else read_transactions(path, model)


def model_of(context: CheckContext) -> Model:
    """Raises `UserError` with the nearest known model."""
    given = str(_option(context, "model", "list-append"))
    for model in get_args(Model):
        if given == model:
            return model  # type: ignore[no-any-return]
    raise unknown_name("model", given, get_args(Model))


def _option(context: CheckContext, name: str, default: Any) -> Any:
    return context.options.get(name, context.config.get(f"elle.{name}", default))


def _switch(context: CheckContext, name: str) -> bool:
    return str(_option(context, name, False)).lower() in ("true", "1", "yes")


def promised(context: CheckContext) -> str:
    """The consistency model to judge by: asked for, else what the configuration says, else the strongest. Standbys
    show commits in the order of the log, the primary in that of its memory: a fork of independent transactions may
    last for ever (Jepsen, Amazon RDS for PostgreSQL 17.4), which parallel snapshot isolation allows."""
    asked = _option(context, "consistency-model", None)
    if asked:
        return named(str(asked)).name
    model = ISOLATION.get(str(context.config.get("isolation", "")), DEFAULT)
    if context.config.get("reads") == "standby" and model == "snapshot-isolation":
        return "parallel-snapshot-isolation"
    return model


def judge(txns: Transactions, context: CheckContext, faults: Sequence[Outage]) -> Result:
    consistency = promised(context)
    model = model_of(context)
    keys = rw_register.KeyOrders(
        linearizable=_switch(context, "linearizable-keys"),
        sequential=_switch(context, "sequential-keys"),
        wfr=_switch(context, "wfr-keys"),
    )
    left_out: list[str] = []
    try:
        inference = _infer(txns, model, keys)
    except WrittenTwice:
        txns, left_out = without_doubles(txns, model)
        inference = _infer(txns, model, keys)
    cycles = find_cycles(txns, inference.graph, inference.committed)
    teller = Teller(
        txns,
        inference,
        model,
        assumed_order=keys.linearizable or keys.sequential or keys.wfr,
    )
    bad = forbidden(consistency)
    anomalies = _anomalies(txns, inference, cycles, teller, bad, faults)
    names = {a.name for a in anomalies}
    violated = bool(names & bad)
    reason = None if violated else left_out[0] if left_out else too_thin(txns, cycles, bad)
    verdict = Verdict.INVALID if violated else Verdict.VALID if reason is None else Verdict.UNKNOWN
    return Result(
        checker="elle",
        verdict=verdict,
        reason=reason,
        anomalies=anomalies,
        measures={
            "model": model,
            "consistency_model": consistency,
            "ruled_out": ruled_out(names),
            "strongest": strongest(names),
            "told": told(names),
            "unseen": UNSEEN,
            "transactions": len(txns),
            "committed": int(inference.committed.sum()),
            "edges": len(inference.graph),
            "unordered_versions": inference.unordered,
            "searches_cut": list(cycles.cut),
            **({LEFT_OUT: left_out} if left_out else {}),
        },
    )


def told(names: set[str]) -> str:
    """What still stands, in words."""
    standing = strongest(names)
    if not names:
        return f"isolation  nothing rules out {standing[0]} ({UNSEEN})"
    out = ruled_out(names)
    first = [name for name in out if not any(weaker in out for weaker in MODELS[name].weaker)]
    left = " and ".join(standing) or "none of the models"
    return f"isolation  ruled out: {', '.join(first)} and all that is stronger; still standing: {left}"


def _infer(txns: Transactions, model: Model, keys: rw_register.KeyOrders) -> Inference:
    if not len(txns.kind):
        return nothing(txns)
    return list_append.infer(txns) if model == "list-append" else rw_register.infer(txns, keys)


def too_thin(txns: Transactions, cycles: Cycles, bad: frozenset[str]) -> str | None:
    """Why silence would prove nothing, with the number; None where it does."""
    ok = txns.outcome[txns.txn] == OK
    reads, writes = (int((ok & (txns.kind == kind)).sum()) for kind in (READ, WRITE))
    if not reads or not writes:
        what = "read" if not reads else "write"
        return f"0 of {len(txns)} transactions committed a {what}"
    cut = [name for name in cycles.cut if name in bad]
    if cut:
        return f"{len(cut)} searches were given up before they were done: {', '.join(cut)}"
    return None


def _anomalies(
    txns: Transactions,
    inference: Inference,
    cycles: Cycles,
    teller: Teller,
    bad: frozenset[str],
    faults: Sequence[Outage],
) -> tuple[Anomaly, ...]:
    found: list[Anomaly] = []
    for name, instances in inference.directs.instances.items():
        first = instances[0]
        found.append(
            Anomaly(
                name=name,
                summary=first.sentence,
                ops=teller.indices([t for direct in instances for t in direct.txns])[:60],
                where=_where(txns, first.ops),
                affected=inference.directs.counts[name],
                out_of=len(txns),
                faults=active_between(faults, *teller.span(first.txns)),
                story=teller.story(first.txns),
                allowed=name not in bad,
                data={
                    **teller.direct(first),
                    "instances": [{"summary": direct.sentence} for direct in instances],
                },
            )
        )
    fractured = fractured_reads(len(txns), inference.graph)
    shown = dict(cycles.found)
    if fractured:
        shown["fractured-read"] = fractured
    for name, shortest in shown.items():
        told = [teller.cycle(name, cycle) for cycle in shortest]
        rows = [step.source for step in shortest[0]]
        found.append(
            Anomaly(
                name=name,
                summary=told[0][0],
                ops=teller.indices([step.source for cycle in shortest for step in cycle])[:60],
                affected=len(shortest),
                faults=active_between(faults, *teller.span(rows)),
                story=teller.story(rows),
                allowed=name not in bad,
                data={**told[0][1], "instances": [{"summary": text, **data} for text, data in told]},
            )
        )
    return tuple(sorted(found, key=lambda a: (a.allowed, gravity(a.name), a.name)))


def _where(txns: Transactions, ops: Sequence[int]) -> str | None:
    return named_key(txns.keys[int(txns.key[ops[0]])]) if len(ops) else None
