"""Safety under every fault the model allows, liveness once they end; and that the invariants would notice."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from systems.raft.core import NOBODY, Persistent, RaftConfig, RaftCore
from systems.raft.log import RaftLog
from systems.raft.messages import AppendReply, AppendRequest, Entry, VoteReply, VoteRequest
from systems.raft.voters import ChangeRefused
from tests.systems.raft.world import InvariantBroken, World


def disturbed(
    size: int, seed: int, steps: int, bugs: frozenset[str] = frozenset(), unrest: float = 0.01
) -> World:
    world = World(size, random.Random(seed), bugs, unrest)
    world.run_calmly(60)
    for _ in range(steps):
        world.step()
    return world


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("seed", range(12))
def test_safe_under_loss_reordering_and_crashes_and_alive_afterwards(size: int, seed: int) -> None:
    world = disturbed(size, seed, 6000)
    world.heal()
    world.run_calmly(150)
    index = world.propose()
    assert index is not None, "no leader after the heal"
    world.run_calmly(20)
    assert index in world.committed
    assert all(node.applied >= index for node in world.nodes.values())
    assert len(world.leaders) > 1, "the faults never moved leadership"


@pytest.mark.parametrize("seed", range(6))
def test_safe_under_constant_crashes(seed: int) -> None:
    disturbed(3 + seed % 3, seed, 6000, unrest=0.05)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.sampled_from([3, 4, 5]))
def test_safe_for_any_seed(seed: int, size: int) -> None:
    disturbed(size, seed, 2000)


@pytest.mark.parametrize("seed", range(10))
def test_safe_while_voters_come_and_go(seed: int) -> None:
    world = World(5, random.Random(seed), unrest=0.01, voters=3)
    world.run_calmly(60)
    for _ in range(8000):
        world.step()
    assert world.changes
    world.heal()
    world.run_calmly(300)
    index = world.propose()
    assert index is not None, "no leader after the heal"
    world.run_calmly(20)
    assert index in world.committed


def test_one_voter_at_a_time_and_only_after_an_entry_of_the_term() -> None:
    world = World(4, random.Random(0), voters=3)
    world.run_calmly(60)
    core = next(n.core for n in world.nodes.values() if n.core is not None and n.core.is_leader)
    present = core.voters.current
    with pytest.raises(ChangeRefused, match="one voter"):
        core.change_voters(present[:1], world.now_ms)
    core.change_voters((*present, 4), world.now_ms)
    with pytest.raises(ChangeRefused, match="not committed"):
        core.change_voters(present, world.now_ms)


def test_a_leader_that_is_removed_steps_down_once_that_is_committed() -> None:
    world = World(3, random.Random(1), voters=None)
    world.run_calmly(60)
    leader = world.newest_leader()
    core = world.nodes[leader].core
    assert core is not None and core.is_leader
    core.change_voters(tuple(v for v in world.ids if v != leader), world.now_ms)
    world.collect(leader)
    world.run_calmly(200)
    assert not core.is_leader
    assert world.newest_leader() != leader
    assert world.propose() is not None


def test_a_vote_that_is_not_persisted_breaks_election_safety() -> None:
    broken = 0
    for seed in range(60):
        try:
            disturbed(3, seed, 4000, frozenset({"controller-vote-not-persisted"}), unrest=0.04)
        except InvariantBroken:
            broken += 1
    assert broken, "the mutant was never caught"


def core_of(i: int, now_ms: float = 0.0, **persistent: object) -> RaftCore:
    config = RaftConfig(id=i, voters=(1, 2, 3))
    return RaftCore(config, Persistent(**persistent), random.Random(i), now_ms, lambda term: b"")  # type: ignore[arg-type]


def test_a_pre_vote_changes_nothing_and_is_refused_while_a_leader_lives() -> None:
    core = core_of(1)
    core.on_request(AppendRequest(2, 1, 0, 0, (), 0), 0.0)
    ask = VoteRequest(3, 2, 9, 9, pre=True)
    assert not core.on_request(ask, 500.0).granted  # type: ignore[union-attr]
    assert core.term == 1
    assert core.on_request(ask, 1500.0).granted  # type: ignore[union-attr]
    assert (core.term, core.voted_for) == (1, NOBODY)


def test_no_vote_for_a_log_that_is_behind() -> None:
    core = core_of(1)
    core.on_request(AppendRequest(2, 3, 0, 0, (Entry(3, b"x"),), 0), 0.0)
    assert not core.on_request(VoteRequest(3, 4, 5, 2, pre=False), 2000.0).granted  # type: ignore[union-attr]
    assert core.term == 4, "the term is taken over all the same"
    assert core.on_request(VoteRequest(2, 4, 1, 3, pre=False), 2000.0).granted  # type: ignore[union-attr]
    assert not core.on_request(VoteRequest(3, 4, 9, 9, pre=False), 2000.0).granted  # type: ignore[union-attr]


def figure_8(bugs: frozenset[str]) -> RaftCore:
    """A leader of term 4 has replicated an entry of term 2 to a majority, but none of its own."""
    log = RaftLog(entries=(Entry(1, b""), Entry(2, b"old")))
    config = RaftConfig(id=1, voters=(1, 2, 3, 4, 5), bugs=bugs)
    core = RaftCore(config, Persistent(3, NOBODY, log), random.Random(0), 0.0, lambda term: b"")
    core.tick(5000.0)
    for peer in (2, 3):
        core.on_reply(VoteReply(peer, 3, 4, True, True), 5000.0)
    for peer in (2, 3):
        core.on_reply(VoteReply(peer, 4, 4, False, True), 5000.0)
    assert core.is_leader
    _, point = core.take_unsaved()
    core.saved(point)
    for peer in (2, 3):
        core.on_reply(AppendReply(peer, 4, True, 2), 5001.0)
    return core


def test_an_entry_of_an_old_term_is_not_committed_by_counting() -> None:
    assert figure_8(frozenset()).commit == 0
    assert figure_8(frozenset({"controller-commit-old-term-by-count"})).commit == 2


def test_a_leader_without_a_majority_steps_down() -> None:
    core = figure_8(frozenset())
    core.tick(5001.0 + 1999)
    assert core.is_leader
    core.tick(5001.0 + 2001)
    assert not core.is_leader
