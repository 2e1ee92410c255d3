"""`chaos bugs`: the catalogue is whole, and --verify says caught, missed and misnamed for what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import pytest
from click.testing import CliRunner

from harness import registry
from harness.campaign import Finding, RunLine
from harness.catalogue import Entry, directed, exposing
from harness.cli.group import chaos
from harness.plan import resolve
from harness.proving import prove
from harness.results import Verdict
from harness.spec import Spec
from systems.broker.catalogue import CATALOGUE

SYSTEMS = ("broker", "quorum")


def test_every_mistake_that_can_be_switched_on_is_in_the_catalogue() -> None:
    for system in SYSTEMS:
        loaded = registry.load("systems", system)
        names = [entry.name for entry in loaded.catalogue]
        assert sorted(e.name for e in loaded.catalogue if e.kind == "mutant") == sorted(loaded.bugs)
        assert len(set(names)) == len(names)


ENTRIES = [(system, entry) for system in SYSTEMS for entry in registry.load("systems", system).catalogue]


@pytest.mark.parametrize(("system", "entry"), ENTRIES, ids=[entry.name for _, entry in ENTRIES])
def test_an_entry_can_be_run_and_its_names_exist(system: str, entry: Entry) -> None:
    known = {n for c in registry.names("checkers") for n in registry.load("checkers", c).anomalies}
    assert set(entry.expect) <= known
    assert entry.source
    assert entry.remedy
    for wrong in (True, False):
        resolve(exposing(entry, system, 0, wrong=wrong))
        spec = directed(entry, system, 0, wrong=wrong)
        if spec is not None:
            resolve(spec)
    assert exposing(entry, system, 0) != exposing(entry, system, 0, wrong=False)


AMNESIA = Entry(
    name="amnesia",
    mechanism="what was acknowledged is in memory only",
    source="none",
    expect=("lost-write",),
    workload="bag",
    nemesis="toy-kill",
)


@pytest.mark.usefixtures("toy")
def test_a_mistake_is_caught_and_its_twin_is_silent() -> None:
    [proof] = prove("toy-bag", [AMNESIA], range(2))
    assert proof.random.outcome == "caught"
    assert proof.random.caught == proof.random.runs == proof.twins == 2
    assert proof.random.median_operations is not None
    assert proof.random.median_seconds is not None
    assert proof.alarms == {}


@pytest.mark.usefixtures("toy")
def test_a_mistake_under_another_name_is_misnamed_and_one_unseen_is_missed() -> None:
    other = msgspec.structs.replace(AMNESIA, expect=("duplicate",))
    calm = msgspec.structs.replace(AMNESIA, nemesis="none")
    assert [prove("toy-bag", [e], range(1))[0].random.outcome for e in (other, calm)] == [
        "misnamed",
        "missed",
    ]


def test_a_twin_that_is_not_silent_is_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_wrong(specs: Iterable[Spec], **options: object) -> Iterator[tuple[int, RunLine]]:
        for position, spec in enumerate(specs):
            yield (
                position,
                RunLine(
                    seed=spec.seed,
                    verdict=Verdict.INVALID,
                    reason=None,
                    anomalies=(Finding("lost-write", 1, "gone"),),
                    ops={},
                    situations={},
                    sim_seconds=1,
                    wall_seconds=1,
                    dir=None,
                ),
            )

    monkeypatch.setattr("harness.proving.run_specs", all_wrong)
    [proof] = prove("toy-bag", [AMNESIA], range(2))
    assert proof.alarms == {0: "lost-write", 1: "lost-write"}
    assert proof.random.caught == 2


def bugs(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(chaos, ["bugs", *words])
    return done.exit_code, done.output


def test_the_list_and_one_entry() -> None:
    code, told = bugs()
    assert code == 0
    assert told.count("\n") == len(CATALOGUE)
    code, told = bugs("truncate-to-hw")
    assert code == 0
    assert "KIP-101" in told
    entry = next(e for e in CATALOGUE if e.name == "truncate-to-hw")
    given = "".join(f" --set {key}={value}" for key, value in entry.settings.items())
    command = f"chaos test --workload produce --nemesis {entry.nemesis}{given} --bug truncate-to-hw --seed 0"
    assert command in " ".join(told.split())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("truncate-to-wh",), "did you mean 'truncate-to-hw'"),
        (("--system", "brokr"), "did you mean 'broker'"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], complaint: str) -> None:
    code, told = bugs(*words)
    assert code == 2
    assert complaint in told
