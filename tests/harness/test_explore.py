"""`chaos explore` and `chaos study`: what is new is kept, mutants can run, and answers are words."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.group import chaos
from harness.explore.coverage import points
from harness.explore.mutations import mutated
from harness.explore.search import Search
from harness.schedule import Fault, Schedule
from harness.spec import Spec
from harness.sweep.study import silent_at_most

schedules = st.lists(
    st.builds(
        Fault,
        at_ms=st.integers(0, 9_999),
        kind=st.sampled_from(["kill", "pause"]),
        selector=st.just("all"),
        duration_ms=st.none() | st.integers(1, 5_000),
    ),
    max_size=5,
).map(lambda faults: Schedule(tuple(sorted(faults, key=lambda f: f.at_ms))))


@given(schedules, schedules, st.integers())
def test_a_mutant_is_a_schedule_of_the_same_kinds_within_the_run(
    schedule: Schedule, other: Schedule, seed: int
) -> None:
    made = mutated(schedule, other, 10_000, random.Random(seed))
    assert made.kinds <= schedule.kinds | other.kinds
    assert all(0 <= fault.at_ms < 10_000 for fault in made.faults)
    assert list(made.faults) == sorted(made.faults, key=lambda fault: fault.at_ms)
    assert all(fault.duration_ms is None or fault.duration_ms >= 1 for fault in made.faults)


@pytest.mark.usefixtures("toy")
def test_the_search_is_the_same_on_one_core_and_grows() -> None:
    spec = Spec(system="toy-bag", workload="bag", nemesis="toy-kill", time_limit_ms=2_000)
    first, second = (Search(spec, budget_s=60, runs=8, root=None, cores=1).run() for _ in range(2))
    assert [kept.spec for kept in first.kept] == [kept.spec for kept in second.kept]
    assert first.runs == 8
    grown = [step.points for step in first.curve]
    assert grown == sorted(set(grown))
    assert first.never == ["never"]
    assert not first.found


@pytest.mark.usefixtures("toy")
def test_what_it_finds_on_the_way_is_told(tmp_path: Path) -> None:
    words = [
        "explore",
        "--system",
        "toy-bag",
        "--workload",
        "bag",
        "--nemesis",
        "toy-kill",
        "--time-limit",
        "8s",
    ]
    done = CliRunner().invoke(
        chaos,
        [
            *words,
            "--bug",
            "amnesia",
            "--runs",
            "4",
            "--keep",
            str(tmp_path / "kept"),
            "--out",
            str(tmp_path / "runs"),
        ],
    )
    assert done.exit_code == 1, done.output
    assert "never reached:\n  never (cannot happen)\n" in done.output
    assert "lost-write: " in done.output
    [folder] = {Path(line.split()[1]) for line in done.output.splitlines() if line.startswith("  kept ")}
    assert (folder / "report.html").exists()
    assert [entry for entry in (tmp_path / "runs").iterdir() if not entry.is_symlink()] == [folder]
    for path in (tmp_path / "kept").iterdir():
        msgspec.json.decode(path.read_bytes(), type=Schedule)


def test_more_of_the_same_is_no_news(toy: None) -> None:
    from harness.campaign import line
    from harness.execute import execute

    run = line(execute(Spec(system="toy-bag", workload="bag", time_limit_ms=2_000), root=None))
    more = msgspec.structs.replace(run, situations={"node-served": 5})
    even = msgspec.structs.replace(run, situations={"node-served": 6})
    assert points(run) < points(more) == points(even)


# ── studies ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_study_answers_in_words(toy: None, tmp_path: Path) -> None:
    file = tmp_path / "question.toml"
    file.write_text(
        """
name = "bags"
question = "Does a bag that forgets lose anything?"
system = "toy-bag"
workload = "bag"
nemeses = ["none", "toy-kill"]
time_limit_ms = 8000
seeds = 2
[[rows]]
name = "forgetful"
bugs = ["amnesia"]
"""
    )
    done = CliRunner().invoke(chaos, ["study", str(file), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "Does a bag that forgets lose anything?" in done.output
    assert "forgetful loses data (lost-write) under toy-kill (2 of 2 runs" in done.output
    assert (
        "shows nothing under none (2 valid runs or more each: at 95% confidence, fewer than 78%"
        in done.output
    )
    assert "In short: data is lost with 'forgetful'." in done.output


@pytest.mark.parametrize(("runs", "share"), [(0, 1.0), (1, 0.95), (59, 0.0495), (300, 0.00994)])
def test_silence_is_worth_what_its_runs_are(runs: int, share: float) -> None:
    assert silent_at_most(runs) == pytest.approx(share, rel=0.01)
