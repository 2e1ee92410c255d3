"""The gate as a user meets it: a repository with a chaos.toml, exit codes, JUnit, summary, corpus, shards."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from junitparser import JUnitXml

from harness.cli.group import chaos
from harness.errors import UserError
from harness.gate import suite
from harness.gate.run import sharded

RIGHT = """
[[tests]]
name = "a bag keeps what it took"
system = "toy-bag"
workload = "bag"
nemesis = "toy-kill"
time-limit = 8
seeds = 2
situations = ["node-served"]
"""
WRONG = """
[[tests]]
name = "a forgetful | bag"
system = "toy-bag"
workload = "bag"
nemesis = "toy-kill"
time-limit = 8
bugs = ["amnesia"]
"""
EXPECTED = WRONG.replace("a forgetful | bag", "as it is known") + 'expect = ["lost-write"]\n'


@pytest.fixture
def repository(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def ci(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(chaos, ["ci", *words])
    return done.exit_code, done.output


def test_a_right_suite_passes_and_leaves_no_folders(repository: Path) -> None:
    (repository / "chaos.toml").write_text(RIGHT + EXPECTED)
    code, told = ci("--junit", "junit.xml", "--summary", "summary.md")
    assert code == 0, told
    assert "passed   a bag keeps what it took: no anomaly in 2 runs" in told
    assert "passed   as it is known: found as expected: lost-write" in told
    junit = JUnitXml.fromfile("junit.xml")
    assert (junit.tests, junit.failures, junit.errors) == (2, 0, 0)
    assert "## chaos: 2 passed" in Path("summary.md").read_text()


def test_a_wrong_one_fails_with_how_to_see_it_again(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(repository / "step.md"))
    (repository / "pyproject.toml").write_text(
        "[project]\nname = 'x'\n" + (RIGHT + WRONG).replace("[[tests]]", "[[tool.chaos.tests]]")
    )
    code, told = ci("--junit", "junit.xml", "--html", "index.html")
    assert code == 1, told
    assert "failed   a forgetful | bag: lost-write in 1 of 1 runs" in told
    assert "the same history when run again" in told
    assert "reproduce  chaos test --system toy-bag --workload bag --nemesis toy-kill" in told
    assert "::error title=chaos%3A a forgetful | bag::lost-write in 1 of 1 runs%0A" in told
    [failed] = [case for case in next(iter(JUnitXml.fromfile("junit.xml"))) if case.result]
    assert failed.name == "a forgetful | bag"
    assert "reproduce: chaos test" in failed.result[0].text
    step = (repository / "step.md").read_text()
    assert "| ❌ | a forgetful \\| bag | 1 | lost-write in 1 of 1 runs |" in step
    page = Path("index.html").read_text()
    link = page.split('<a href="')[1].split('"')[0]
    assert (repository / link).exists()


def test_a_failure_is_recorded_small_and_replayed_first(repository: Path) -> None:
    file = repository / "chaos.toml"
    file.write_text(WRONG)
    code, told = ci("--record")
    assert code == 1, told
    [entry] = (repository / "chaos-corpus").iterdir()
    assert "1 fault, " in told
    code, told = ci()
    assert code == 1
    assert f"failed   corpus: {entry.name}: back again: lost-write" in told
    entry.write_text(entry.read_text().replace('"amnesia"', ""))
    file.write_text(RIGHT)
    code, told = ci()
    assert code == 0, told
    assert told.startswith(f"passed   corpus: {entry.name}: no lost-write any more")


def test_what_proves_nothing_is_unknown(repository: Path) -> None:
    (repository / "chaos.toml").write_text(RIGHT.replace("node-served", "never"))
    code, told = ci()
    assert code == 3
    assert "2 runs never reached never (cannot happen)" in told


def test_a_run_that_proves_nothing_says_how_to_see_it_again(repository: Path) -> None:
    (repository / "chaos.toml").write_text(RIGHT.replace("time-limit = 8", "rate = 0.5\ntime-limit = 1"))
    code, told = ci()
    assert code == 3, told
    assert "2 of 2 runs prove nothing: " in told
    assert "; reproduce: chaos test --system toy-bag --workload bag --nemesis toy-kill --rate 0.5" in told


def test_a_budget_is_kept(repository: Path) -> None:
    (repository / "chaos.toml").write_text('budget = "0.1ms"\n' + RIGHT)
    code, told = ci()
    assert code == 3
    assert "not run; 0 of 2 seeds: the budget is spent" in told
    code, told = ci("--budget", "5m", "--json")
    assert code == 0
    assert msgspec.json.decode(told)["tests"][0]["runs"] == 2


def test_shards_cover_the_suite_once(repository: Path) -> None:
    (repository / "chaos.toml").write_text(RIGHT + EXPECTED + WRONG)
    tests = suite.load(Path("chaos.toml")).tests
    covered = [test.name for index in (1, 2) for test in sharded(tests, index, 2)]
    assert sorted(covered) == sorted(test.name for test in tests)
    code, told = ci("--shard", "2/2")
    assert code == 0, told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "missing required field `tests`"),
        ("tests = []", "no \\[\\[tests\\]\\]"),
        (RIGHT + RIGHT, "another test has the same name"),
        (RIGHT.replace("toy-kill", "toy-kil"), "did you mean 'toy-kill'"),
        (RIGHT.replace("node-served", "node-serve"), "did you mean 'node-served'"),
        (RIGHT.replace("seeds", "sedes"), "unknown field `sedes`"),
        (RIGHT.replace("seeds = 2", "seeds = 0"), "at least 1"),
        (EXPECTED.replace("lost-write", "lost-wrote"), "did you mean 'lost-write'"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(repository: Path, text: str, complaint: str) -> None:
    (repository / "chaos.toml").write_text(text)
    with pytest.raises(UserError, match=complaint):
        suite.load(Path("chaos.toml"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "no chaos.toml here"),
        (("other.toml",), "other.toml: No such file"),
        (("--shard", "3/2"), "no chaos.toml here"),
    ],
)
def test_without_a_suite_it_says_so(repository: Path, words: tuple[str, ...], complaint: str) -> None:
    code, told = ci(*words)
    assert code == 2
    assert complaint in told


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{}", "format version None"), ('{"version": 0}', "format version 0"), ("[", "not one of ours")],
)
def test_a_corpus_entry_that_cannot_be_used_is_named(repository: Path, text: str, complaint: str) -> None:
    (repository / "chaos.toml").write_text(RIGHT)
    (repository / "chaos-corpus").mkdir()
    (repository / "chaos-corpus" / "old.json").write_text(text)
    code, told = ci()
    assert code == 2
    assert "chaos-corpus/old.json" in told
    assert complaint in told
