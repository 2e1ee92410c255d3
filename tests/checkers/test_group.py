"""Checker `group`: every anomaly has a history that shows it and a legal neighbour (`test_recorded_histories.py` judges
the files); what a policy allows is shown and no violation; small histories against the definitions."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.group import GroupChecker
from checkers.group.offsets import regressions
from checkers.group.ownership import late_commits, shared_generations
from checkers.group.turns import turns
from harness.checker import CheckContext
from harness.history import History, HistoryWriter, read_history
from harness.ops import Operation
from harness.results import Blame, Result, Verdict

HERE = Path(__file__).parent
HISTORIES = HERE / "histories" / "group"
FORMER = HERE / "group_histories" / "a-former-owner-goes-on.jsonl"
REPEATED = HERE / "group_histories" / "repeated-after-a-refused-commit.jsonl"


def judged(path: Path, *, bugs: frozenset[str] = frozenset(), **config: Any) -> Result:
    settings = {key.replace("__", "."): value for key, value in config.items()}
    return GroupChecker().check(read_history(path), CheckContext(config=settings, bugs=bugs))


def test_every_anomaly_has_a_history_that_shows_it_and_one_that_is_close() -> None:
    files = sorted(HISTORIES.glob("*.jsonl"))
    shown = {p.name.split("--")[0] for p in files if ".invalid" in p.name}
    assert shown | {"consume-duplicate"} == set(GroupChecker.anomalies)
    assert any(".valid" in p.name for p in files)
    assert any(".unknown" in p.name for p in files)


def test_what_at_least_once_allows_is_no_violation_and_exactly_once_excludes_it() -> None:
    allowed = judged(REPEATED)
    assert allowed.verdict is Verdict.VALID
    assert [(a.name, a.allowed, a.blame) for a in allowed.anomalies] == [
        ("consume-duplicate", True, Blame.WORKLOAD)
    ]
    excluded = judged(REPEATED, group__policy="eos")
    assert excluded.verdict is Verdict.INVALID
    assert [(a.name, a.allowed, a.blame) for a in excluded.anomalies] == [
        ("consume-duplicate", False, Blame.SERVER)
    ]


def test_an_application_that_bears_no_repetition_is_told_of_one() -> None:
    result = judged(REPEATED, group__once=True)
    assert result.verdict is Verdict.INVALID
    assert [(a.name, a.allowed, a.blame) for a in result.anomalies] == [
        ("consume-duplicate", False, Blame.WORKLOAD)
    ]


def test_a_former_owner_at_work_is_no_violation_unless_ownership_is_taken_for_a_lock() -> None:
    assert judged(FORMER).verdict is Verdict.VALID
    result = judged(FORMER, group__lock="ownership")
    assert result.verdict is Verdict.INVALID
    assert [(a.name, a.blame) for a in result.anomalies if not a.allowed] == [
        ("dual-ownership", Blame.WORKLOAD)
    ]
    assert "process 4 worked on offset 1" in next(a.summary for a in result.anomalies if not a.allowed)


def test_whose_it_is() -> None:
    lost = HISTORIES / "consume-lost--given-and-never-processed.invalid.jsonl"
    assert [a.blame for a in judged(lost, group__policy="commit-before").anomalies] == [Blame.WORKLOAD]
    assert [a.blame for a in judged(lost, group__policy="commit-after").anomalies] == [Blame.SERVER]
    mutant = judged(lost, bugs=frozenset({"generation-not-fenced"}), group__policy="commit-before")
    assert [a.blame for a in mutant.anomalies] == [Blame.SERVER]
    forgotten = HISTORIES / "offset-regression--everything-is-forgotten.invalid.jsonl"
    assert [a.blame for a in judged(forgotten).anomalies] == [Blame.SERVER]
    assert [a.blame for a in judged(forgotten, offsets__retention__minutes=10_080.0).anomalies] == [
        Blame.SERVER
    ]
    assert [a.blame for a in judged(forgotten, offsets__retention__minutes=0.0001).anomalies] == [
        Blame.CONFIGURATION
    ]
    retention = HISTORIES / "consume-lost--retention-was-faster.invalid.jsonl"
    assert [a.blame for a in judged(retention).anomalies] == [Blame.CONFIGURATION]


def test_measures() -> None:
    measures = judged(REPEATED).measures
    assert (measures["processed"], measures["repeated"]) == (3, 2)
    assert measures["commits"] == {"ok": 1, "refused": 1, "unknown": 0}
    assert (measures["generations"], measures["members"]) == (2, 2)


def small_history(rng: random.Random) -> History:
    """A few members that commit and fetch one partition at random, in operations that may overlap."""
    now = iter(range(1, 10_000))
    writer = HistoryWriter(None, lambda: next(now))
    running: dict[int, dict[str, Any]] = {}
    fresh = iter(range(10, 1_000))
    for _ in range(rng.randrange(4, 14)):
        if running and rng.random() < 0.5:
            process = rng.choice(sorted(running))
            writer.append(process, "ok", "consume", value=[], extra=running.pop(process))
            continue
        process = next(fresh)
        running[process] = turn = {
            "plan": "work",
            "member": f"m{rng.randrange(3)}",
            "generation": rng.randrange(1, 4),
            "assigned": ["e/0"],
            "commits": [],
        }
        if rng.random() < 0.6:
            outcome = rng.choice(["ok", "ok", "unknown", "refused"])
            commit = {
                "offsets": [["e/0", rng.randrange(5)]],
                "generation": turn["generation"],
                "outcome": outcome,
            }
            turn["commits"] = [commit]
        else:
            turn["resumed"] = [["e/0", rng.choice([None, 0, 1, 2, 3, 4]), 0]]
        writer.append(process, "invoke", "consume", extra={"plan": "work"})
    for process in sorted(running):
        writer.append(process, "ok", "consume", value=[], extra=running[process])
    return writer.history()


def since_it_was_forgotten(history: History) -> list[Operation]:
    """From the last that was told of no offset although one had been acknowledged before it began."""
    done = [o for o in history.operations if o.completion is not None]
    ends = [
        o.completion.index
        for o in done
        if o.completion is not None and any(c["outcome"] == "ok" for c in o.completion.extra["commits"])
    ]
    forgot = [
        o.invoke.index
        for o in done
        if o.completion is not None
        and any(committed is None for _, committed, _ in o.completion.extra.get("resumed", ()))
        and any(end < o.invoke.index for end in ends)
    ]
    return [o for o in done if o.invoke.index >= max(forgot, default=-1)]


def naive_late_commits(history: History) -> set[int]:
    """Every commit that was accepted although one of a younger generation had ended before it began."""
    done = since_it_was_forgotten(history)
    found = set()
    for operation in done:
        for other in done:
            assert operation.completion is not None
            assert other.completion is not None
            for mine in operation.completion.extra["commits"]:
                for theirs in other.completion.extra["commits"]:
                    before = other.completion.index < operation.invoke.index
                    both = mine["outcome"] == theirs["outcome"] == "ok"
                    if before and both and mine["generation"] < theirs["generation"]:
                        found.add(operation.invoke.index)
    return found


def naive_shared(history: History) -> set[int]:
    """Every generation that two members say they had the partition in."""
    members: dict[int, set[str]] = {}
    for operation in since_it_was_forgotten(history):
        assert operation.completion is not None
        extra = operation.completion.extra
        members.setdefault(extra["generation"], set()).add(extra["member"])
    return {generation for generation, of in members.items() if len(of) > 1}


def naive_regressions(history: History) -> set[int]:
    """Fetches in order of their beginning: too low against every acknowledgement that counts still, and no commit of
    unknown outcome that began before the fetch ended says the same offset."""
    done = [o for o in history.operations if o.completion is not None]
    commits = [
        (o, c["offsets"][0][1], c["outcome"])
        for o in done
        if o.completion is not None
        for c in o.completion.extra["commits"]
    ]
    since = -1
    found = set()
    for fetch in done:
        assert fetch.completion is not None
        for _, committed, _ in fetch.completion.extra.get("resumed", ()):
            counting = [
                (o, offset)
                for o, offset, outcome in commits
                if outcome == "ok"
                and o.completion is not None
                and since < o.completion.index < fetch.invoke.index
            ]
            if not counting or (committed is not None and committed >= max(offset for _, offset in counting)):
                continue
            late = any(
                outcome == "unknown" and offset == committed and o.invoke.index < fetch.completion.index
                for o, offset, outcome in commits
            )
            if not late or committed is None:
                found.add(fetch.invoke.index)
            since = fetch.invoke.index
    return found


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_small_histories_against_the_definitions(rng: random.Random) -> None:
    history = small_history(rng)
    every = turns(history.operations)
    assert {v.operations[-1].invoke.index for v in late_commits(every)} == naive_late_commits(history)
    assert {v.value for v in shared_generations(every)} == naive_shared(history)
    assert {v.operations[-1].invoke.index for v in regressions(every)} == naive_regressions(history)
