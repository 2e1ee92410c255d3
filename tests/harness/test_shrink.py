"""Shrinking: passes only offer what is smaller, the search keeps the anomaly, and what is left is a failing test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign import Pool
from harness.cli.group import chaos
from harness.errors import UserError
from harness.execute import execute
from harness.schedule import Fault, Schedule
from harness.shrink.case import Case
from harness.shrink.passes import PASSES
from harness.shrink.search import Budget, Search
from harness.spec import Spec

AMNESIA = Spec(system="toy-bag", workload="bag", time_limit_ms=10_000, bugs=("amnesia",))


@pytest.fixture
def failing(toy: None) -> Case:
    outcome = execute(msgspec.structs.replace(AMNESIA, nemesis="toy-kill"), root=None)
    assert [a.name for a in outcome.result.anomalies][:1] == ["lost-write"]
    from harness.plan import resolve

    plan = resolve(msgspec.structs.replace(AMNESIA, nemesis="toy-kill"))
    spec = msgspec.structs.replace(plan.spec, nemesis="none", schedule=plan.schedule, config={}, settings={})
    return Case(spec, sum(outcome.result.ops.values()))


@pytest.fixture
def pool(toy: None) -> Iterator[Pool]:
    with Pool(2) as made:
        yield made


def test_what_is_left_has_one_fault_and_a_few_operations(failing: Case, pool: Pool) -> None:
    shrunk = Search(pool, "lost-write", Budget(runs=400, seconds=100)).run(failing)
    assert shrunk.before.faults == len(failing.spec.schedule.faults) > 3  # type: ignore[union-attr]
    assert shrunk.after.faults == 1
    assert shrunk.after.operations <= 20
    assert shrunk.after.clients == 1
    assert shrunk.case.spec.bugs == ("amnesia",)
    assert not shrunk.exhausted
    again = execute(shrunk.case.spec, root=None)
    assert "lost-write" in {a.name for a in again.result.anomalies}


def test_the_budget_ends_the_search_with_what_it_has(failing: Case, pool: Pool) -> None:
    shrunk = Search(pool, "lost-write", Budget(runs=6)).run(failing)
    assert shrunk.exhausted
    assert shrunk.runs <= 6
    assert shrunk.after <= shrunk.before


def test_a_run_without_the_anomaly_is_refused(failing: Case, pool: Pool) -> None:
    sound = Case(msgspec.structs.replace(failing.spec, bugs=()), failing.operations)
    with pytest.raises(UserError, match="does not show 'lost-write' again"):
        Search(pool, "lost-write", Budget()).run(sound)


faults = st.builds(
    Fault,
    at_ms=st.integers(0, 60_000),
    kind=st.just("kill"),
    selector=st.just("all"),
    duration_ms=st.none() | st.integers(1, 20_000),
    params=st.dictionaries(st.sampled_from(["how", "torn"]), st.just(True)),
)
cases = st.builds(
    lambda faults, concurrency, nodes, limit, operations: Case(
        Spec(
            concurrency=concurrency,
            nodes=nodes,
            rate=20.0,
            time_limit_ms=limit,
            schedule=Schedule(tuple(sorted(faults, key=lambda f: f.at_ms))),
            settings={"acks": "1"},
            bugs=("amnesia",),
        ),
        operations,
    ),
    st.lists(faults, max_size=6),
    st.integers(1, 8),
    st.integers(1, 5),
    st.integers(1, 60_000),
    st.integers(1, 5_000),
)


@given(case=cases)
def test_every_candidate_is_smaller_in_what_its_pass_is_for(case: Case) -> None:
    """So that rounds of passes end."""
    for name, shorten in PASSES.items():
        for spec in shorten(case):
            smaller = Case(spec, case.operations)
            limited = spec.settings.get("ops.limit", case.operations) < case.operations
            assert (
                smaller.size < case.size or limited or spec.rate < case.spec.rate or _rounder(case, spec)
            ), name
            assert len(smaller.spec.schedule.faults) <= len(case.spec.schedule.faults)  # type: ignore[union-attr]


def _rounder(case: Case, spec: Spec) -> bool:
    assert spec.schedule is not None
    assert case.spec.schedule is not None
    return sum(f.at_ms for f in spec.schedule.faults) < sum(f.at_ms for f in case.spec.schedule.faults)


# ── the command, and what it writes ──────────────────────────────────────────────────────────────────────


def chaos_command(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(chaos, list(words))
    return done.exit_code, done.output


def recorded(root: Path, *words: str) -> Path:
    given = ["--system", "toy-bag", "--workload", "bag", "--time-limit", "10", "--out", str(root)]
    chaos_command("test", *given, *words)
    return root / "latest"


def test_the_file_fails_until_the_mistake_is_gone(toy: None, tmp_path: Path) -> None:
    run = recorded(tmp_path / "runs", "--nemesis", "toy-kill", "--bug", "amnesia")
    code, told = chaos_command("shrink", str(run), "--out", str(tmp_path / "small"), "--json")
    assert code == 0, told
    answer = msgspec.json.decode(told)
    assert answer["anomaly"] == "lost-write"
    assert answer["after"]["faults"] == 1
    assert (Path(answer["dir"]) / "report.html").exists()
    test = Path(answer["test"])
    failed = under_pytest(test)
    assert failed.returncode == 1, failed.stdout
    assert "lost-write" in failed.stdout
    assert "reproduce" in failed.stdout
    test.write_text(test.read_text().replace('"amnesia"', ""))
    mended = under_pytest(test)
    assert mended.returncode == 0, mended.stdout


def under_pytest(path: Path) -> subprocess.CompletedProcess[str]:
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(path.parent),
        str(path),
    ]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=path.parent)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "names no anomaly"),
        (("--nemesis", "toy-kill", "--bug", "amnesia"), "did you mean 'lost-write'"),
    ],
)
def test_bad_input_is_one_line(toy: None, tmp_path: Path, words: tuple[str, ...], complaint: str) -> None:
    run = recorded(tmp_path, *words)
    code, told = chaos_command("shrink", str(run), "--anomaly", "lost-writes", "--out", str(tmp_path))
    assert code == 2
    assert complaint in told
    assert told.count("\n") == 1
