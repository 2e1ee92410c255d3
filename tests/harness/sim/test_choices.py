"""The recorded stream of choices, and strict replay."""

from __future__ import annotations

import pytest

from harness.clusters.sim import SimBackend, SimCluster
from harness.sim.choices import FSYNC, LATENCY, NAMES, TIE, Choices, Recording
from harness.sim.errors import DivergenceError
from tests.harness.sim.toy import ask, run, started


def test_the_seed_decides_and_the_names_are_recorded() -> None:
    one, two, other = Choices(1), Choices(1), Choices(2)
    decisions = [LATENCY, TIE, LATENCY, FSYNC]
    drawn = [one.uniform(d) for d in decisions]
    assert drawn == [two.uniform(d) for d in decisions] != [other.uniform(d) for d in decisions]
    assert all(0 <= value < 1 for value in drawn)
    assert [NAMES[d] for d in one.recording().decisions][1] == "order of hosts at one instant"


def test_derived_generators_are_their_owner_s() -> None:
    choices = Choices(1)
    first = choices.derive("node/b1").random()
    choices.uniform(TIE)
    assert choices.derive("node/b1").random() == first != choices.derive("node/b2").random()


def test_a_replay_names_the_first_choice_that_differs() -> None:
    recorded = Choices(1)
    for decision in (LATENCY, TIE):
        recorded.uniform(decision)
    replay = Choices(1, recorded.recording())
    replay.uniform(LATENCY)
    with pytest.raises(DivergenceError, match=r"choice 1 decides 'duration of an fsync'.*'order of hosts"):
        replay.uniform(FSYNC)
    short = Choices(1, recorded.recording())
    short.uniform(LATENCY), short.uniform(TIE)
    with pytest.raises(DivergenceError, match="the recording ends here"):
        short.uniform(LATENCY)


def test_an_override_changes_one_answer() -> None:
    recorded = Choices(1)
    values = [recorded.uniform(LATENCY) for _ in range(3)]
    changed = Choices(1, Recording(1, recorded.recording().decisions, {1: 0.125}))
    assert [changed.uniform(LATENCY) for _ in range(4)][:3] == [values[0], 0.125, values[2]]


async def _scenario(cluster: SimCluster) -> tuple[str, Recording]:
    await started(cluster)
    await cluster.client_host("p0").spawn(ask("hello"))
    return cluster.trace_digest(), cluster.recording()


def test_a_recording_replays_to_the_same_trace() -> None:
    digest, recording = run(_scenario, seed=4)
    again, _ = run(_scenario, seed=4, backend=SimBackend(recording))
    assert again == digest
    other_seed, _ = run(_scenario, seed=5)
    assert other_seed != digest


def test_a_program_that_changed_diverges_from_its_recording() -> None:
    _, recording = run(_scenario)

    async def changed(cluster: SimCluster) -> None:
        await started(cluster)
        await cluster._world.host("b1").disk.fsync("log")

    async def prepared(cluster: SimCluster) -> None:
        cluster._world.host("b1").disk.append("log", b"x")
        await changed(cluster)

    with pytest.raises(DivergenceError, match="duration of an fsync"):
        run(prepared, backend=SimBackend(recording))
