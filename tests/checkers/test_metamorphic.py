"""What must not change a verdict: other names, other indices and times, operations that have nothing to do with it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from log_model import eos_history, produce_history
from test_exactly_once_against_naive import damaged as damaged_eos
from test_log_against_naive import Chaos

from checkers.exactly_once import ExactlyOnceChecker
from checkers.log import LogChecker
from harness.checker import CheckContext, Checker
from harness.history import History
from harness.ops import Op

Summary = tuple[str, list[tuple[str, int, int | None]]]


def judged(checker: Checker, history: History) -> Summary:
    """Verdict, and how often each anomaly was found where."""
    result = checker.check(history, CheckContext())
    anomalies = [(a.name, a.affected, a.out_of) for a in result.anomalies]
    return str(result.verdict), sorted(anomalies, key=str)


def rewritten(history: History, edit: Callable[[Any], Any]) -> History:
    """Applies `edit` to every string in keys and values."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return edit(value)
        if isinstance(value, list):
            return [walk(v) for v in value]
        if isinstance(value, dict):
            return {k: walk(v) for k, v in value.items()}
        return value

    kept = ("assigned", "resumed")
    return History(
        msgspec.structs.replace(
            op,
            key=walk(op.key),
            value=walk(op.value),
            extra={k: walk(v) if k in kept else v for k, v in op.extra.items()},
        )
        for op in history.ops
    )


def produce_cases() -> list[History]:
    cases = [produce_history(random.Random(seed), 200) for seed in range(5)]
    for seed in range(25):
        chaos = Chaos(random.Random(seed))
        for _ in range(60):
            chaos.step()
        cases.append(chaos.writer.history())
    return cases


def eos_cases() -> list[History]:
    cases = [eos_history(random.Random(seed), 250) for seed in range(3)]
    return cases + [damaged_eos(eos_history(random.Random(s), 250), random.Random(s)) for s in range(15)]


CASES = [(LogChecker(), h) for h in produce_cases() + eos_cases()] + [
    (ExactlyOnceChecker(), h) for h in eos_cases()
]


@pytest.fixture(params=range(len(CASES)))
def case(request: pytest.FixtureRequest) -> tuple[Checker, History]:
    return CASES[request.param]


def test_other_names_of_topics(case: tuple[Checker, History]) -> None:
    """Order of names reversed too, so that nothing hangs on sorting."""
    checker, history = case
    names = {"orders": "zebra", "input": "yak", "output": "ant"}

    def edit(text: str) -> str:
        topic, slash, index = text.partition("/")
        return f"{names[topic]}{slash}{index}" if topic in names and index.isdigit() else text

    assert judged(checker, rewritten(history, edit)) == judged(checker, history)


def test_other_values(case: tuple[Checker, History]) -> None:
    checker, history = case

    def edit(text: str) -> str:
        return text if text.partition("/")[2].isdigit() and " " not in text else _renamed(text)

    assert judged(checker, rewritten(history, edit)) == judged(checker, history)


def _renamed(text: str) -> str:
    """A value, also the one inside an output: `0:17` -> `n17.0`, its order turned round."""
    if "=" not in text:
        head, colon, tail = text.partition(":")
        return f"n{tail}.{head}" if colon else text
    place, rest = text.split("=", 1)
    value, by = rest.split(" by ")
    return f"{place}={_renamed(value)} by {by}"


def test_other_indices_and_times(case: tuple[Checker, History]) -> None:
    checker, history = case
    stretched = [
        msgspec.structs.replace(op, index=op.index * 7 + 3, time=op.time * 2 + 1) for op in history.ops
    ]
    assert judged(checker, History(stretched)) == judged(checker, history)


def test_other_processes(case: tuple[Checker, History]) -> None:
    checker, history = case
    moved = [msgspec.structs.replace(op, process=f"p{op.process}") for op in history.ops]
    assert judged(checker, History(moved)) == judged(checker, history)


def test_operations_that_have_nothing_to_do_with_it(case: tuple[Checker, History]) -> None:
    """A register beside it, faults, and a topic of its own that is read and written without a flaw."""
    checker, history = case
    verdict, anomalies = judged(checker, history)
    ops: list[Op] = []

    def add(process: Any, type: Any, f: str, **fields: Any) -> None:
        time = ops[-1].time if ops else 0
        ops.append(Op(index=len(ops), time=time, process=process, type=type, f=f, **fields))

    for number, op in enumerate(history.ops):
        ops.append(msgspec.structs.replace(op, index=len(ops)))
        if number % 5 == 0:
            add("r", "invoke", "read", key="x")
            add("r", "ok", "read", key="x", value=number)
            add("s", "invoke", "send", key="other/0", value=f"s:{number}")
            add("s", "ok", "send", key="other/0", value=f"s:{number}", extra={"offset": number // 5})
            add("nemesis", "invoke", "slow", value={"fault": 0})
            add("nemesis", "fail", "slow", value={"fault": 0, "targets": []})
    records = [["other/0", n // 5, f"s:{n}"] for n in range(0, len(history.ops), 5)]
    end = len(records)
    add("t", "invoke", "final-read", key="other/0", extra={"from": 0})
    add(
        "t",
        "ok",
        "final-read",
        key="other/0",
        value=records,
        extra={"from": 0, "next": end, "end": end, "reached": True},
    )
    assert judged(checker, History(ops))[1] == anomalies
    if verdict != "unknown":  # a thin history becomes less so
        assert judged(checker, History(ops))[0] == verdict


def test_a_history_twice_with_fresh_names_has_everything_twice(case: tuple[Checker, History]) -> None:
    checker, history = case
    if isinstance(checker, ExactlyOnceChecker):
        return  # one input topic and one committed group a run

    def edit(text: str) -> str:
        topic, slash, index = text.partition("/")
        return f"again-{topic}{slash}{index}" if slash and index.isdigit() and " " not in text else text

    second = [
        msgspec.structs.replace(
            op, index=op.index + len(history), time=op.time + history.end_ns, process=f"again-{op.process}"
        )
        for op in rewritten(history, edit).ops
    ]
    verdict, anomalies = judged(checker, history)
    doubled = judged(checker, History([*history.ops, *second]))
    assert doubled == (verdict, sorted(anomalies * 2, key=str))
