"""Every nemesis draws schedules that can be carried out, from a seed as from Hypothesis."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from harness.fault_parameters import CLOCK_MODES, check_parameters
from harness.registry import load, names
from harness.schedule import KINDS, MESSAGE_KINDS, Fault, Schedule
from harness.selectors import parse
from harness.topology import NodeInfo, Topology
from nemeses import rhythm

NEMESES = names("nemeses")
SUBJECTS = {
    "leader": ("input/0", "output/0", "output/1"),
    "coordinator": ("eos-0", "eos-1"),
    "group-coordinator": ("eos",),
}


def topology(
    brokers: int = 3,
    controllers: int = 3,
    *,
    clients: int = 4,
    subjects: bool = True,
    spares: int = 0,
    kinds: tuple[str, ...] = (),
) -> Topology:
    nodes = [NodeInfo(f"b{i}", "broker", i, 9092, spare=i > brokers) for i in range(1, brokers + spares + 1)]
    nodes += [NodeInfo(f"c{i}", "controller", 100 + i, 9093) for i in range(1, controllers + 1)]
    named = SUBJECTS if subjects else {}
    return Topology(tuple(nodes), tuple(f"client-{i}" for i in range(clients)), named, message_kinds=kinds)


topologies = st.builds(
    topology,
    st.integers(1, 5),
    st.sampled_from((0, 1, 3, 5)),
    clients=st.integers(0, 6),
    subjects=st.booleans(),
    spares=st.integers(0, 2),
    kinds=st.sampled_from(((), ("store",), ("read", "store", "beat"))),
)
time_limits_ms = st.sampled_from((1_000, 5_000, 10_000, 20_000, 60_000, 300_000))


def check(schedule: Schedule, topology: Topology, time_limit_ms: int, needs: frozenset[str]) -> None:
    times = [f.at_ms for f in schedule.faults]
    assert times == sorted(times)
    for fault in schedule.faults:
        assert fault.kind in KINDS
        assert fault.kind in needs | {"crash-at"}
        assert fault.duration_ms is not None, "every fault of a nemesis ends"
        assert fault.duration_ms > 0
        assert rhythm.usable(time_limit_ms).low <= fault.at_ms
        assert fault.at_ms + fault.duration_ms <= rhythm.usable(time_limit_ms).high
        for selector in (fault.selector, fault.params.get("to")):
            if selector:
                parse(selector, topology)
        check_own_params(fault)
    assert schedule.needs <= needs | {"crash-at"}


def check_own_params(fault: Fault) -> None:
    check_parameters(fault)
    match fault.kind:
        case "partition":
            assert set(fault.params) - {"step"} == {"shape", "direction", "how", "clients"}
        case "power":
            assert set(fault.params) == {"torn"}
        case "clock":
            assert fault.params["mode"] in CLOCK_MODES
            assert fault.params.get("rate", 0) > -1, "a clock never runs backwards"
        case "slow" | "slow-disk":
            assert 0 <= fault.params["jitter_ms"] <= fault.params["latency_ms"]
        case "flaky":
            assert fault.params.get("loss") or fault.params.get("bandwidth_kbps")
        case "datagrams":
            assert any(fault.params.get(p) for p in ("loss", "duplicate", "reorder"))
        case "cpu":
            assert 0 < fault.params["cores"] < 1
        case "memory":
            assert fault.params["more_mb"] >= 0
        case "crash-at":
            assert set(fault.params) == {"step"}
        case _:
            assert fault.params == {}


@pytest.mark.parametrize("name", NEMESES)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(topology=topologies, time_limit_ms=time_limits_ms, rng=st.randoms(use_true_random=False))
def test_a_schedule_can_be_carried_out_whatever_is_drawn(
    name: str, topology: Topology, time_limit_ms: int, rng: random.Random
) -> None:
    nemesis = load("nemeses", name)
    check(nemesis.schedule(topology, time_limit_ms, rng, {}), topology, time_limit_ms, nemesis.needs)


@pytest.mark.parametrize("name", NEMESES)
def test_the_same_seed_gives_the_same_schedule(name: str) -> None:
    def draw(seed: int) -> Schedule:
        schedule = load("nemeses", name).schedule(topology(), 60_000, random.Random(f"{seed}"), {})
        assert isinstance(schedule, Schedule)
        return schedule

    assert [draw(seed) for seed in range(20)] == [draw(seed) for seed in range(20)]
    if name != "none":
        assert len({str(draw(seed)) for seed in range(20)}) == 20


@pytest.mark.parametrize("name", [n for n in NEMESES if n != "none"])
@pytest.mark.parametrize("time_limit_ms", [5_000, 10_000, 60_000])
def test_every_run_has_a_fault_however_short(name: str, time_limit_ms: int) -> None:
    for seed in range(30):
        schedule = load("nemeses", name).schedule(topology(), time_limit_ms, random.Random(seed), {})
        assert schedule.faults
        if time_limit_ms == 60_000:
            assert 2 <= len(schedule.faults) <= 20


def test_a_run_begins_and_ends_quiet() -> None:
    usable = rhythm.usable(60_000)
    assert usable.low == 5_000
    assert usable.high == 50_000


def test_hypothesis_shrinks_a_schedule_to_its_simplest_form() -> None:
    # How far a single number shrinks is Hypothesis' heuristic and differs from machine to machine; that the
    # choices of the schedule are its draws, and so shrink at all, is ours.
    nemesis = load("nemeses", "partition")
    schedule = find(
        st.randoms(use_true_random=False).map(lambda rng: nemesis.schedule(topology(), 60_000, rng, {})),
        lambda s: any(f.params["shape"] == "ring" for f in s.faults),
        settings=settings(database=None, derandomize=True, max_examples=2_000),
    )
    rings = [f for f in schedule.faults if f.params["shape"] == "ring"]
    assert len(rings) == 1
    assert rings[0].params["how"] == "drop"


def _runs(name: str, config: dict[str, Any] | None = None, count: int = 200) -> list[Schedule]:
    nemesis = load("nemeses", name)
    return [nemesis.schedule(topology(), 60_000, random.Random(seed), config or {}) for seed in range(count)]


def test_partitions_take_every_shape_direction_and_manner() -> None:
    faults = [f for s in _runs("partition") for f in s.faults]
    seen: Counter[str] = Counter()
    for fault in faults:
        seen.update(str(v) for v in fault.params.values())
    assert set(seen) >= {
        "isolate",
        "halves",
        "ring",
        "bridge",
        "peers",
        "both",
        "in",
        "out",
        "drop",
        "reject",
        "hold",
    }
    assert {f.selector.split("(")[0] for f in faults} >= {
        "leader",
        "coordinator",
        "controller",
        "clients",
        "all",
    }


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        # A leader that goes on serving clients while its peers are out of reach, until it is deposed (acks=1).
        (
            "partition",
            lambda f: (
                f.selector.startswith("leader")
                and f.params["shape"] == "isolate"
                and not f.params["clients"]
                and f.duration_ms > 3_000
            ),
        ),
        # Answers that never arrive, for longer than a client waits (no idempotence).
        (
            "partition",
            lambda f: "clients" in f.selector and f.params["direction"] == "in" and f.duration_ms > 3_000,
        ),
        # A leader that dies while its followers are stalled, but still in its ISR (acks=1, acks=0).
        (
            "kill",
            lambda f: f.kind == "pause" and f.selector.startswith("followers") and f.duration_ms < 2_000,
        ),
        # The last member of a shrunk ISR loses its power (min.insync.replicas=1).
        ("power", lambda f: f.kind == "partition" and f.params["shape"] == "peers" and f.duration_ms > 3_000),
        ("unclean", lambda f: f.kind == "kill" and f.selector.startswith("isr")),
    ],
)
def test_most_runs_hold_what_the_unsafe_settings_need(name: str, matches: Any) -> None:
    runs = _runs(name)
    hit = sum(any(matches(f) for f in s.faults) for s in runs)
    assert hit >= 0.65 * len(runs), f"{name}: only {hit} of {len(runs)} runs"


def test_power_takes_one_node_at_a_time_and_lets_it_catch_up() -> None:
    for schedule in _runs("power"):
        losses = [f for f in schedule.faults if f.kind == "power"]
        assert all(f.selector.startswith(("leader(", "one-of(", "controller")) for f in losses)
        for before, after in itertools.pairwise(losses):
            assert after.at_ms - (before.at_ms + (before.duration_ms or 0)) >= 7_000


def test_unclean_brings_the_stale_replica_back_before_the_others() -> None:
    for schedule in _runs("unclean"):
        stalls = [f for f in schedule.faults if f.kind in ("pause", "partition")]
        deaths = [f for f in schedule.faults if f.kind == "kill"]
        assert len(stalls) == len(deaths) >= 2
        for stall, death in zip(stalls, deaths, strict=True):
            assert stall.at_ms + 2_000 < death.at_ms < stall.at_ms + (stall.duration_ms or 0)
            assert death.at_ms + (death.duration_ms or 0) > stall.at_ms + (stall.duration_ms or 0) + 3_000


def test_timings_follow_the_configuration() -> None:
    slow = {"broker.session.timeout.ms": 9_000, "replica.lag.time.max.ms": 10_000}
    longest = max(f.duration_ms or 0 for s in _runs("pause", slow, 30) for f in s.faults)
    assert longest > 9_000
    stalled = [f for s in _runs("kill", slow, 50) for f in s.faults if f.kind == "pause"]
    assert stalled
    assert all(1_000 < (f.duration_ms or 0) < 10_000 for f in stalled)


def test_only_a_quorum_that_can_spare_one_loses_its_controller() -> None:
    for name in ("partition", "kill", "pause", "power", "clock", "slow"):
        for seed in range(50):
            schedule = load("nemeses", name).schedule(topology(3, 1), 60_000, random.Random(seed), {})
            assert all(f.selector != "controller" for f in schedule.faults)


def test_membership_uses_spares_where_there_are_any() -> None:
    nemesis = load("nemeses", "membership")

    def kinds(of: Topology) -> set[str]:
        drawn = [nemesis.schedule(of, 60_000, random.Random(seed), {}) for seed in range(30)]
        return {f.kind for s in drawn for f in s.faults}

    assert kinds(topology(3, spares=2)) == {"join", "replace"}
    assert kinds(topology(5, spares=2)) == {"join", "replace", "leave"}
    assert kinds(topology(5)) == {"leave"}
    assert kinds(topology(3)) == {"leave"}, "the system refuses: too few would be left"


def test_messages_are_slowed_by_the_kinds_that_the_system_names() -> None:
    nemesis = load("nemeses", "slow-messages")
    named = topology(kinds=("read", "store", "beat"))
    runs = [nemesis.schedule(named, 60_000, random.Random(seed), {}) for seed in range(30)]
    picked = {kind for s in runs for f in s.faults for kind in f.params["kinds"]}
    assert picked == {"read", "store", "beat"}
    assert all(MESSAGE_KINDS in s.needs for s in runs)
    unnamed = nemesis.schedule(topology(), 60_000, random.Random(0), {})
    assert all("kinds" not in f.params for f in unnamed.faults)


def test_nobody_wipes_a_voter() -> None:
    """A controller that forgets its vote may vote twice."""
    assert not [
        f for s in _runs("wipe") for f in s.faults if "controller" in f.selector or f.selector == "all"
    ]


def test_clocks_that_differ_from_node_to_node() -> None:
    modes = Counter(f.params["mode"] for s in _runs("clock-scatter") for f in s.faults)
    assert set(modes) == {"scatter", "sawtooth"}
