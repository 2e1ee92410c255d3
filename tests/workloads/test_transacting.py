"""What the workloads of transactions draw: programs that the checker can judge, the same for the same seed."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from harness.generators import Context
from harness.settings import resolve
from harness.workload import Invocation, fail, ok
from workloads.append import Append
from workloads.causal import Causal
from workloads.long_fork import LongFork
from workloads.transacting import LiveKeys, Program, TransactionWorkload
from workloads.txn_lost_update import TxnLostUpdate
from workloads.wr import Wr
from workloads.write_skew import WriteSkew

WORKLOADS = (Append, Causal, LongFork, TxnLostUpdate, Wr, WriteSkew)


def drawn(workload: TransactionWorkload, seed: int, count: int = 500) -> list[Program]:
    rng = random.Random(seed)
    workload.restart(resolve(workload.settings, {}))
    return [workload.program(rng) for _ in range(count)]


@pytest.mark.parametrize("kind", WORKLOADS)
def test_no_value_of_a_key_is_written_twice(kind: type[TransactionWorkload]) -> None:
    writes = [(key, value) for program in drawn(kind(), 1) for f, key, value in program if f != "r"]
    assert writes
    assert len(set(writes)) == len(writes)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_second_run_of_one_workload_draws_the_same(kind: type[TransactionWorkload]) -> None:
    workload = kind()
    assert drawn(workload, 3) == drawn(workload, 3)
    assert drawn(workload, 3) != drawn(workload, 4)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_written_key_is_also_read(kind: type[TransactionWorkload]) -> None:
    programs = drawn(kind(), 5, 2_100)
    written = {key for program in programs for f, key, _ in program if f != "r"}
    read = {key for program in programs for f, key, _ in program if f == "r"}
    assert len(written - read) <= len(written) * 0.05


def test_write_skew_pairs_read_both_and_write_different_ones() -> None:
    one, other, look = drawn(WriteSkew(), 1, 3)
    assert {key for f, key, _ in one if f == "r"} == {key for f, key, _ in other if f == "r"}
    assert one[-1][1] != other[-1][1]
    assert {f for f, _, _ in look} == {"r"}


def test_a_key_that_nobody_could_use_stays() -> None:
    """While the store is down nothing commits, and the keys of before are still there when it is back."""
    rng = random.Random(1)
    keys = LiveKeys("k", 3, 4)
    assert {keys.draw(rng) for _ in range(100)} == {"k0", "k1", "k2"}
    for _ in range(4):
        keys.used("k1")
    assert {keys.draw(rng) for _ in range(100)} == {"k0", "k3", "k2"}
    keys.used("k1")
    assert {keys.draw(rng) for _ in range(100)} == {"k0", "k3", "k2"}


@pytest.mark.parametrize("kind", [Append, Wr, TxnLostUpdate, Causal])
def test_keys_make_room_for_others(kind: type[TransactionWorkload]) -> None:
    rng, workload = random.Random(2), kind()
    workload.restart(resolve(workload.settings, {}))
    few = {key for _ in range(2_000) for _, key, _ in workload.program(rng)}
    used: dict[str, None] = {}
    for _ in range(2_000):
        program = workload.program(rng)
        workload.committed(program)
        used.update(dict.fromkeys(key for _, key, _ in program))
    assert len(used) > 2 * len(few)


def test_the_keys_in_use_are_read_at_the_end_until_they_answer() -> None:
    """Where the store came back late nobody else would see what it lost."""
    workload = Append()
    workload.restart(resolve(workload.settings, {}))
    last: Any = workload.final_generator(cast("Any", None))
    context = Context(slot=0, process=0, slots=1, now_ms=0.0, random=random.Random(0))
    asked = []
    while isinstance(invocation := last.next(context), Invocation):
        [[f, key, _]] = invocation.value
        asked.append(key)
        first = len(asked) == 1
        last.completed(context, invocation, fail("starting up") if first else ok(invocation.value))
        assert f == "r"
    assert invocation is None
    assert asked == [f"l{number}" for number in range(6)] + ["l0"]
