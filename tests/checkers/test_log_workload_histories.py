"""The checkers of the log workloads beside `log` itself: every anomaly has a history that shows it, every history a
legal neighbour, and what is too thin is no verdict. (`test_recorded_histories.py` judges the files.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import registry
from harness.checker import CheckContext, Checker
from harness.history import read_history
from harness.results import Blame

HISTORIES = Path(__file__).parent / "histories"
CHECKERS = ("keyed-order", "fifo", "offsets", "compaction", "delivery", "liveness", "skew")


@pytest.mark.parametrize("name", CHECKERS)
def test_every_anomaly_has_a_history_that_shows_it_and_one_that_is_close(name: str) -> None:
    checker: Checker = registry.load("checkers", name)
    files = sorted((HISTORIES / name).glob("*.jsonl"))
    shown = {p.name.split("--")[0] for p in files if ".invalid" in p.name}
    assert shown == set(checker.anomalies)
    assert any(".valid" in p.name for p in files)
    assert any(".unknown" in p.name for p in files)


def blamed(checker: str, file: str, **config: object) -> Blame:
    history = read_history(HISTORIES / checker / f"{file}.jsonl")
    judge: Checker = registry.load("checkers", checker)
    settings = {key.replace("__", ".").replace("_", "-"): value for key, value in config.items()}
    [anomaly] = judge.check(history, CheckContext(config=settings)).anomalies
    return anomaly.blame


def test_whose_it_is() -> None:
    duplicate = "consume-duplicate--inserted-twice.invalid"
    assert blamed("delivery", duplicate, sink__mode="insert") is Blame.WORKLOAD
    assert blamed("delivery", duplicate, sink__mode="upsert") is Blame.SERVER
    retention = "consume-lost--retention-was-faster.invalid"
    assert blamed("delivery", retention) is Blame.CONFIGURATION
    total = "counter-under--less-than-was-acknowledged.invalid"
    assert blamed("skew", total, hot_key__strategy="salted") is Blame.WORKLOAD
    assert blamed("skew", total, hot_key__strategy="two-stage") is Blame.SERVER


def test_how_even_a_load_is_and_what_order_it_costs() -> None:
    history = read_history(HISTORIES / "keyed-order" / "key-order-violation--inside-one-poll.invalid.jsonl")
    checker: Checker = registry.load("checkers", "skew")
    measures = checker.check(history, CheckContext()).measures
    assert measures["partitions"] == {
        "e/0": {"records": 1, "most_lag": 0},
        "e/1": {"records": 1, "most_lag": 1},
    }
    assert (measures["records_judged_for_order"], measures["out_of_order"]) == (1, 1)
