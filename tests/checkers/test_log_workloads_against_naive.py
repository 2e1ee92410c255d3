"""Small random histories of the log workloads: what a checker says, and what its definition says, tried pair by pair."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.compaction import CompactionChecker
from checkers.fifo import FifoChecker
from checkers.keyed_order import KeyedOrderChecker
from checkers.offsets import OffsetsChecker
from checkers.transactions import ElleChecker
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Op, Operation


class Recorder:
    """Operations of a few processes that overlap at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.ops: list[Op] = []
        self.open: list[tuple[int, dict[str, Any], dict[str, Any], str]] = []
        self.processes = 0

    def do(self, f: str, asked: dict[str, Any], answered: dict[str, Any], kind: str = "ok") -> None:
        """It begins now, and ends some time later."""
        while self.open and self.rng.random() < 0.6:
            self.end()
        process, self.processes = self.processes, self.processes + 1
        self._add(process, "invoke", f, asked)
        self.open.append((process, asked, answered, f"{kind} {f}"))

    def end(self) -> None:
        process, asked, answered, kind = self.open.pop(self.rng.randrange(len(self.open)))
        outcome, f = kind.split()
        self._add(process, outcome, f, asked | answered)

    def _add(self, process: int, kind: Any, f: str, fields: dict[str, Any]) -> None:
        extra = {k: v for k, v in fields.items() if k not in ("key", "value")}
        n = len(self.ops)
        self.ops.append(
            Op(
                index=n,
                time=n * 1_000_000,
                process=process,
                type=kind,
                f=f,
                key=fields.get("key"),
                value=fields.get("value"),
                extra=extra,
            )
        )

    def history(self) -> History:
        while self.open:
            self.end()
        return History(self.ops)


def ended_before(a: Operation, b: Operation) -> bool:
    return a.completion is not None and a.completion.index < b.invoke.index


# ── keyed-order ──────────────────────────────────────────────────────────────────────────────────────────


def keyed_history(rng: random.Random) -> History:
    recorder = Recorder(rng)
    values: list[str] = []
    for number in range(rng.randint(2, 5)):
        key = rng.choice("ab")
        values.append(f"{key}#{number}")
        asked = {"key": f"e/{rng.randrange(2)}", "record_key": key, "value": values[-1]}
        recorder.do("send", asked, {"offset": number}, rng.choice(["ok", "ok", "ok", "info"]))
    for _ in range(rng.randint(1, 4)):
        polled = rng.sample(values, rng.randint(0, len(values)))
        recorder.do("poll", {}, {"value": [[f"e/{rng.randrange(2)}", 0, value] for value in polled]})
    return recorder.history()


def naive_out_of_order(history: History) -> set[str]:
    """Values of which a processing came before every processing of one that was sent earlier."""
    sends = [o for o in history.operations if o.f == "send" and o.outcome == "ok"]
    polls = [o for o in history.operations if o.f == "poll" and o.outcome == "ok"]

    def places(send: Operation) -> list[tuple[Operation, int]]:
        values = ((poll, [v for _, _, v in poll.value or ()]) for poll in polls)
        return [(poll, seen.index(send.value)) for poll, seen in values if send.value in seen]

    def certainly_first(x: tuple[Operation, int], y: tuple[Operation, int]) -> bool:
        return x[1] < y[1] if x[0] is y[0] else ended_before(x[0], y[0])

    return {
        str(b.value)
        for a, b in product(sends, sends)
        if a.invoke.extra["record_key"] == b.invoke.extra["record_key"]
        and ended_before(a, b)
        and places(a)
        and any(all(certainly_first(x, y) for y in places(a)) for x in places(b))
    }


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False))
def test_keyed_order(rng: random.Random) -> None:
    history = keyed_history(rng)
    result = KeyedOrderChecker().check(history, CheckContext())
    found = {i["value"] for a in result.anomalies for i in a.data["instances"]}
    assert found == naive_out_of_order(history)


# ── fifo ─────────────────────────────────────────────────────────────────────────────────────────────────


def queue_history(rng: random.Random) -> History:
    """Puts of a producer follow one another; takes overlap."""
    recorder = Recorder(rng)
    values: list[str] = []
    for number in range(rng.randint(2, 5)):
        values.append(f"0:{number}")
        fields = {"value": values[-1], "partition": f"q/{rng.randrange(2)}"}
        outcome = rng.choice(["ok", "ok", "ok", "fail"])
        for kind in ("invoke", outcome):
            recorder._add(99, kind, "enqueue", fields)
    for value in rng.sample(values, rng.randint(1, len(values))):
        recorder.do("dequeue", {}, {"value": value}, rng.choice(["ok", "ok", "fail"]))
    return recorder.history()


def naive_reordered(history: History) -> set[str]:
    puts = [o for o in history.operations if o.f == "enqueue" and o.outcome == "ok"]
    takes = {o.value: o for o in history.operations if o.f == "dequeue" and o.outcome == "ok"}
    return {
        str(b.value)
        for a, b in product(puts, puts)
        if a.invoke.extra["partition"] == b.invoke.extra["partition"]
        and ended_before(a, b)
        and a.value in takes
        and b.value in takes
        and ended_before(takes[b.value], takes[a.value])
    }


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False))
def test_fifo(rng: random.Random) -> None:
    history = queue_history(rng)
    result = FifoChecker().check(history, CheckContext())
    assert {i["value"] for a in result.anomalies for i in a.data["instances"]} == naive_reordered(history)


# ── offsets ──────────────────────────────────────────────────────────────────────────────────────────────


def probes(rng: random.Random) -> History:
    recorder = Recorder(rng)
    for _ in range(rng.randint(2, 6)):
        end, epoch = rng.randrange(6), rng.randrange(3)
        recorder.do("end-offset", {}, {"value": [["o/0", end]], "epochs": [["o/0", epoch]]})
    return recorder.history()


def naive_regressions(history: History) -> set[int]:
    """Invocations of answers that are lower than one of an earlier epoch, or than an earlier one of their own."""

    def told(operation: Operation) -> tuple[int, int]:
        assert operation.completion is not None
        return operation.completion.extra["epochs"][0][1], operation.completion.value[0][1]

    return {
        b.invoke.index
        for a, b in product(history.operations, history.operations)
        if told(b)[1] < told(a)[1]
        and (told(a)[0] < told(b)[0] or (told(a)[0] == told(b)[0] and ended_before(a, b)))
    }


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False))
def test_end_offsets(rng: random.Random) -> None:
    history = probes(rng)
    result = OffsetsChecker().check(history, CheckContext())
    found = {i["ops"][2] for a in result.anomalies for i in a.data["instances"]}
    assert found == naive_regressions(history)


# ── compaction ───────────────────────────────────────────────────────────────────────────────────────────


def table_history(rng: random.Random) -> tuple[History, set[str]]:
    """A log of puts and deletes, compacted rightly or wrongly, and a view of it; and the keys that the cleaner spoilt
    so that nothing excuses it."""
    recorder = Recorder(rng)
    log: list[tuple[str, str | None]] = []
    unsure: set[str] = set()
    for number in range(rng.randint(1, 8)):
        key, delete = rng.choice("abc"), rng.random() < 0.3
        asked: dict[str, Any] = {"key": key, "partition": "t/0"}
        if not delete:
            asked["value"] = f"{key}={number}"
        outcome = rng.choice(["ok", "ok", "ok", "info", "fail"])
        written = outcome == "ok" or (outcome == "info" and rng.random() < 0.5)
        offset = {"offset": len(log)} if outcome == "ok" else {}
        if written:
            log.append((key, asked.get("value")))
        if outcome == "info":
            unsure.add(key)
        recorder.do("put", asked, offset, outcome)
    while recorder.open:
        recorder.end()
    rows = {key: [at, value] for at, (key, value) in enumerate(log)}
    spoilt = set()
    for key in sorted(rows):
        older = [[at, v] for at, (k, v) in enumerate(log) if k == key and v is not None and at < rows[key][0]]
        if older and rng.random() < 0.3:
            rows[key] = rng.choice(older)
            spoilt.add(key)
        elif rows[key][1] is not None and rng.random() < 0.2:
            rows[key] = [rows[key][0], None]
            spoilt.add(key)
    shown = {key: row for key, row in rows.items() if row[1] is not None}
    asked = {"key": "fresh", "final": True}
    recorder.do("view", asked, {"value": shown, "reached": True, "ends": {"t/0": len(log)}})
    return recorder.history(), spoilt - unsure


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_table_that_a_cleaner_spoilt(rng: random.Random) -> None:
    history, spoilt = table_history(rng)
    result = CompactionChecker().check(history, CheckContext())
    found = {a.where.removeprefix("key ") for a in result.anomalies if a.where is not None}
    unsure = {str(o.invoke.key) for o in history.operations if o.f == "put" and o.outcome == "info"}
    assert found - unsure == spoilt


# ── transactions over a log ──────────────────────────────────────────────────────────────────────────────


def log_transactions(rng: random.Random) -> History:
    """Transactions of which some poll what others sent, whether they may or not."""
    recorder = Recorder(rng)
    programs = [
        [["send", rng.choice(["a/0", "a/1"]), str(10 * n + m)] for m in range(rng.randint(1, 2))]
        for n in range(rng.randint(1, 4))
    ]
    offsets = {"a/0": 0, "a/1": 0}
    placed: dict[str, tuple[str, int]] = {}
    for program in programs:
        for _, partition, value in program:
            placed[value] = (partition, offsets[partition])
            offsets[partition] += 1
    for program in programs:
        polled: dict[str, list[list[Any]]] = {}
        for value in rng.sample(sorted(placed), rng.randint(0, min(2, len(placed)))):
            partition, offset = placed[value]
            polled.setdefault(partition, []).append([offset, value])
        done = [["send", p, [placed[v][1], v]] for _, p, v in program] + [["poll", polled]]
        outcome = rng.choice(["ok", "ok", "ok", "info", "fail"])
        recorder.do("txn", {"value": [*program, ["poll"]]}, {"value": done}, outcome)
    return recorder.history()


def naive_log_anomalies(history: History) -> set[str]:
    """Who polled what of whom, and every way round."""
    sent = {v: o for o in history.operations for f, *rest in o.invoke.value if f == "send" for v in [rest[1]]}
    polls = [
        (o, value)
        for o in history.operations
        for f, *rest in o.value
        if f == "poll" and rest
        for records in rest[0].values()
        for _, value in records
    ]
    found: set[str] = set()
    proven = {id(sent[v]) for o, v in polls if sent[v] is not o and sent[v].outcome == "info"}
    committed = {id(o) for o in history.operations if o.outcome == "ok"} | proven
    edges: set[tuple[int, int]] = set()
    for reader, value in polls:
        writer = sent[value]
        if writer is reader:
            found.add("precommitted-read")
        elif writer.outcome == "fail":
            found.add("aborted-read")
        elif id(writer) in committed:
            edges.add((id(writer), id(reader)))
    reached = set(edges)
    for _ in history.operations:
        reached |= {(a, d) for a, b in reached for c, d in edges if b == c}
    if any(a == b for a, b in reached):
        found.add("G1c")
    return found


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False))
def test_transactions_over_a_log(rng: random.Random) -> None:
    history = log_transactions(rng)
    context = CheckContext(options={"model": "kafka"}, workload="txn")
    result = ElleChecker().check(history, context)
    found = {a.name for a in result.anomalies if not a.allowed}
    late = {"G1c-process", "G1c-realtime"}
    assert found - late == naive_log_anomalies(history)
    if found & late:
        assert any(
            reader.completion is not None and reader.completion.index < writer.invoke.index
            for reader, writer in product(history.operations, history.operations)
        )
