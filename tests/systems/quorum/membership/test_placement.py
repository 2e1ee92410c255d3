"""The steps of a change: quorums of neighbouring epochs meet, and little moves."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.quorum.membership.placement import Placement, meeting
from systems.quorum.membership.state import (
    Change,
    Refused,
    RingState,
    aborted,
    begun,
    done,
    finished,
    founded,
    handed_over,
    with_disk,
)
from systems.quorum.ring import Ring, remapped, remapped_by_modulo
from systems.quorum.settings import SETTINGS, weights

N = 3
KEYS = [f"key-{number}" for number in range(60)]
DEFAULTS = {setting.name: setting.default for setting in SETTINGS}

CHANGES = [
    Change("join", "n9"),
    Change("leave", "n2"),
    Change("replace", "n9", "n2"),
    Change("rebuild", "n2"),
]


def placed(state: RingState, *bugs: str) -> Placement:
    return Placement(state, n=N, vnodes=8, bugs=frozenset(bugs))


def steps(count: int, change: Change) -> list[RingState]:
    first = founded({f"n{i}": 1.0 for i in range(1, count + 1)})
    second = begun(first, change, 77, copies=N)
    third = handed_over(second)
    return [first, second, third, finished(third)]


def meet(readers: tuple[str, ...], sets: tuple[tuple[str, ...], ...], r: int, w: int) -> bool:
    """Whether every R of the readers have one of whoever makes a write complete."""
    return all(
        any(set(read) & set(write) for owners in sets for write in [chosen[owners]])
        for read in combinations(readers, r)
        for chosen in _choices(sets, w)
    )


def _choices(sets: tuple[tuple[str, ...], ...], w: int) -> list[dict[tuple[str, ...], tuple[str, ...]]]:
    if not sets:
        return [{}]
    rest = _choices(sets[1:], w)
    return [{**more, sets[0]: chosen} for chosen in combinations(sets[0], w) for more in rest]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.kind)
@given(count=st.integers(min_value=4, max_value=7), quorums=st.sampled_from([(2, 2), (1, 3), (3, 1)]))
def test_quorums_of_neighbouring_epochs_meet(change: Change, count: int, quorums: tuple[int, int]) -> None:
    r, w = quorums
    epochs = [placed(state) for state in steps(count, change)]
    for key in KEYS:
        for one, other in pairwise(epochs):
            assert meet(one.readers(key), other.write_sets(key), r, w)
            assert meet(other.readers(key), one.write_sets(key), r, w)


def test_writes_of_one_side_only_do_not_meet() -> None:
    epochs = [placed(state, "bootstrap-no-pending-writes") for state in steps(5, Change("join", "n9"))]
    assert not all(meet(epochs[2].readers(key), epochs[1].write_sets(key), 2, 2) for key in KEYS)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.kind)
def test_at_most_one_owner_of_a_key_is_another_one(change: Change) -> None:
    before, _, _, after = (placed(state) for state in steps(5, change))
    for key in KEYS:
        assert len(set(after.readers(key)) - set(before.readers(key))) <= 1


def test_who_takes_a_place_takes_its_keys_and_nothing_else() -> None:
    before, _, _, after = (placed(state) for state in steps(5, Change("replace", "n9", "n2")))
    for key in KEYS:
        assert after.readers(key) == tuple("n9" if n == "n2" else n for n in before.readers(key))


def test_a_lost_disk_does_not_count_until_it_was_handed_its_ranges() -> None:
    first, second, third, last = steps(4, Change("rebuild", "n2"))
    assert not second.has("n2", 0)
    assert second.has("n2", 77)
    assert second.status("n2") == "joining"
    key = next(key for key in KEYS if "n2" in placed(first).readers(key))
    assert "n2" not in placed(second).readers(key)
    assert "n2" in placed(third).readers(key)
    assert done(last, Change("rebuild", "n2"), 77)


def test_a_change_taken_back_or_begun_anew_has_an_epoch_of_its_own() -> None:
    first, second, *_ = steps(4, Change("join", "n9"))
    assert aborted(second).epoch == second.epoch + 1
    assert aborted(second).members == first.members
    assert with_disk(second, 5).coming["n9"].disk == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Change("join", "n1"), "already"),
        (Change("leave", "n9"), "not in the ring"),
        (Change("leave", "n1"), "none of them can leave"),
        (Change("replace", "n9", "n8"), "nobody can take its place"),
        (Change("replace", "n1", "n2"), "already"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(change: Change, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        begun(founded({"n1": 1.0, "n2": 1.0, "n3": 1.0}), change, 1, copies=N)


def test_how_many_must_be_asked() -> None:
    assert meeting(DEFAULTS) == 2
    assert meeting({**DEFAULTS, "conflict": "lww", "read.quorum": "ONE", "write.quorum": "ALL"}) == 3
    assert meeting({**DEFAULTS, "conflict": "lww", "read.quorum": "ONE", "write.quorum": "ONE"}) == 3


def test_a_node_more_moves_its_share_of_the_keys_where_modulo_moves_nearly_all() -> None:
    """Karger et al. 1997: 1 of n + 1 keys; modulo: n of n + 1."""
    keys = [f"key-{number}" for number in range(20_000)]
    names = [f"n{i}" for i in range(1, 11)]
    moved = remapped(Ring(names, vnodes=64), Ring([*names, "n11"], vnodes=64), keys)
    assert moved == pytest.approx(1 / 11, abs=0.02)
    assert remapped_by_modulo(10, 11, keys) == pytest.approx(10 / 11, abs=0.02)


def test_a_weight_is_a_share() -> None:
    keys = [f"key-{number}" for number in range(20_000)]
    ring = Ring(["n1", "n2", "n3"], vnodes=64, weights=weights("n1=2, n3=1"))
    first = [ring.walk(key)[0] for key in keys]
    assert first.count("n1") / len(keys) == pytest.approx(1 / 2, abs=0.08)
