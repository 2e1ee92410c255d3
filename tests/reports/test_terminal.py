"""The last lines of a run: what was found, how to see it again, what would settle it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.terminal import summary

RESULT: dict[str, Any] = {
    "verdict": "valid",
    "results": [{"checker": "log", "verdict": "valid"}, {"checker": "availability", "verdict": "valid"}],
    "ops": {"ok": 2406, "fail": 19, "info": 17},
    "faults": {"scheduled": 5, "bitten": 4},
    "situations": {"leader-change": 3, "unclean-election": 0},
    "repro": "chaos test --workload produce --nemesis kill --seed 17 --set acks=1",
}


def anomaly(name: str, sentence: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "summary": sentence, "ops": [1], **fields}


def test_valid_is_one_line_of_what_was_checked_and_how_hard_it_was_tried() -> None:
    assert summary(RESULT, {}, None) == (
        "valid: 2,442 operations (2,406 ok, 19 fail, 17 info), 4 faults that took effect, 1 of 2 situations reached; "
        "no violation found by log, availability"
    )


def test_invalid_names_the_worst_first_and_says_how_to_see_it_again() -> None:
    found = [
        anomaly("duplicate", "x twice"),
        anomaly("lost-write", "42 is gone"),
        anomaly("duplicate", "y twice"),
    ]
    result = RESULT | {"verdict": "invalid", "results": [{"checker": "log", "anomalies": found}]}
    lines = summary(result, {}, Path("chaos-runs/latest/report.html")).splitlines()
    assert lines[0].startswith("invalid: lost-write ×1, duplicate ×2, in 2,442 operations")
    assert lines[1:] == [
        "  42 is gone",
        "  reproduce  chaos test --workload produce --nemesis kill --seed 17 --set acks=1",
        "  report     chaos-runs/latest/report.html",
    ]


def test_what_the_configuration_allows_is_not_counted() -> None:
    found = [anomaly("lost-write", "allowed", allowed=True), anomaly("duplicate", "x twice")]
    result = RESULT | {"verdict": "invalid", "results": [{"checker": "log", "anomalies": found}]}
    assert summary(result, {}, None).startswith("invalid: duplicate ×1,")


def test_unknown_says_why_and_what_would_settle_it() -> None:
    result = RESULT | {"verdict": "unknown", "reason": "only 3 of 90 operations succeeded"}
    text = summary(result, {}, None)
    assert text.startswith("unknown: only 3 of 90 operations succeeded\n")
    assert "settled by a longer --time-limit or a higher --rate" in text


def test_without_a_repro_line_the_spec_gives_one() -> None:
    spec = {
        "system": "broker",
        "workload": "eos",
        "nemesis": "kill+slow",
        "seed": 3,
        "time_limit_ms": 20_000,
        "nodes": 5,
        "backend": "sim",
        "settings": {"acks": "1", "enable.idempotence": False, "x": "a b"},
        "bugs": ["truncate-to-hw"],
    }
    text = summary({"verdict": "unknown"}, spec, None)
    assert (
        "chaos test --workload eos --nemesis kill+slow --nodes 5 --time-limit 20 --set acks=1 "
        "--set enable.idempotence=false --set 'x=a b' --bug truncate-to-hw --seed 3"
    ) in text


def test_colour_only_when_asked_for_and_nothing_from_the_history_steers_the_terminal() -> None:
    found = [anomaly("lost-write", "value \x1b[2J\x07 is gone")]
    result = RESULT | {"verdict": "invalid", "results": [{"checker": "log", "anomalies": found}]}
    assert "\x1b" not in summary(result, {}, None)
    assert summary(result, {}, None, colour=True).startswith("\x1b[31minvalid\x1b[0m: ")
