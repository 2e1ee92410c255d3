"""A campaign that never reached what it should proves nothing, and says what was missing."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness import registry
from harness.campaign import RunLine, run_seeds, summarise
from harness.cli import group
from harness.cli.group import chaos
from harness.coverage import ENOUGH_RUNS, covered, must_reach, never_reached
from harness.errors import UserError
from harness.plan import resolve
from harness.results import Verdict
from harness.spec import Spec


class Fake:
    def __init__(self) -> None:
        self.situations = {"leader-change": "another leader", "split": "two leaders"}
        self.reached_by = {"leader-change": ("kill", "pause")}
        self.reached_with = {"split": "--workload eos --nemesis partition"}


def run(seed: int, verdict: Verdict = Verdict.VALID, **situations: int) -> RunLine:
    return RunLine(
        seed=seed,
        verdict=verdict,
        reason=None,
        anomalies=(),
        ops={},
        situations={name.replace("_", "-"): count for name, count in situations.items()},
        sim_seconds=1,
        wall_seconds=1,
        dir=None,
    )


def test_a_long_campaign_must_reach_what_its_nemesis_is_for() -> None:
    assert must_reach(Fake(), "partition+kill", ENOUGH_RUNS) == ("leader-change",)
    assert must_reach(Fake(), "partition+kill", ENOUGH_RUNS - 1) == ()
    assert must_reach(Fake(), "clock", ENOUGH_RUNS) == ()
    assert must_reach(Fake(), "none", 1, ["split"]) == ("split",)


def test_an_unknown_situation_is_bad_input() -> None:
    with pytest.raises(UserError, match="leader-change"):
        must_reach(Fake(), "none", 1, ["leader-chang"])


def test_silence_that_reached_nothing_is_unknown_and_names_the_nemesis() -> None:
    summary = covered(summarise([run(0), run(1, leader_change=0)]), Fake(), ["leader-change"])
    assert summary.verdict is Verdict.UNKNOWN
    assert summary.reason == (
        "2 runs never reached leader-change (another leader; --nemesis kill or pause reaches it)"
    )


def test_what_no_nemesis_always_reaches_names_a_test_that_does() -> None:
    assert never_reached(Fake(), ["split"]) == (
        "never reached split (two leaders; `chaos test --workload eos --nemesis partition` reaches it)"
    )


def test_one_run_that_reached_it_is_enough_and_an_anomaly_stays_one() -> None:
    assert (
        covered(summarise([run(0), run(1, leader_change=2)]), Fake(), ["leader-change"]).verdict
        is Verdict.VALID
    )
    found = covered(summarise([run(0, Verdict.INVALID)]), Fake(), ["leader-change"])
    assert found.verdict is Verdict.INVALID


@pytest.mark.usefixtures("toy")
def test_on_the_command_line(tmp_path: Path) -> None:
    words = ["test", "--system", "toy-bag", "--workload", "bag", "--time-limit", "1", "--out", str(tmp_path)]
    silent = CliRunner().invoke(chaos, [*words, "--sometimes", "node-served"])
    assert silent.exit_code == 0, silent.output
    reached = CliRunner().invoke(chaos, [*words, "--sometimes", "no-such"])
    assert reached.exit_code == 2


@pytest.mark.parametrize("name", ["broker", "quorum"])
def test_every_situation_names_a_test_that_can_be_run(name: str) -> None:
    system = registry.load("systems", name)
    assert sorted(system.reached_with) == sorted(system.situations)
    for words in set(system.reached_with.values()):
        assert resolve(planned(name, words)[0]).schedule is not None


REACHING = [
    (name, situation, words)
    for name in ("broker", "quorum")
    for situation, words in registry.load("systems", name).reached_with.items()
]


@pytest.mark.campaign
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "situation", "words"), REACHING, ids=[f"{n}-{s}" for n, s, _ in REACHING])
def test_what_a_situation_names_reaches_it(name: str, situation: str, words: str) -> None:
    spec, runs = planned(name, words)
    seeds = run_seeds(spec, range(runs), root=None)
    assert any(run.situations[situation] for run in seeds)


def planned(system: str, words: str) -> tuple[Spec, int]:
    """What these options of `chaos test` ask for, and under how many seeds; `ENOUGH_RUNS` where they say nothing."""
    command = group.chaos.get_command(click.Context(group.chaos), "test")
    assert command is not None
    given = command.make_context("chaos test", shlex.split(words)).params
    assert given["system"] == system
    spec = Spec(
        system=system,
        workload=given["workload"],
        nemesis=given["nemesis"],
        nodes=given["nodes"],
        settings=dict(text.split("=") for text in given["settings"]),
    )
    return spec, ENOUGH_RUNS if given["runs"] == 1 else given["runs"]
