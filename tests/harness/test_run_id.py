"""A run's name says whether it still goes on."""

from __future__ import annotations

import subprocess
import sys

from harness.run_id import in_use, new_run_id, token


def test_runs_of_this_process_are_in_use_and_differ() -> None:
    first, second = new_run_id(), new_run_id()
    assert first != second
    assert token(first) != token(second)
    assert in_use(first)


def test_a_run_of_a_process_that_ended_is_not() -> None:
    script = "from harness.run_id import new_run_id; print(new_run_id())"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert not in_use(run)


def test_another_process_of_the_same_number_is_another() -> None:
    boot, pid, started, random = new_run_id().split(".")
    assert not in_use(f"{boot}.{pid}.{int(started) + 1}.{random}")
    assert not in_use(f"00000000.{pid}.{started}.{random}"), "of before the last boot"


def test_what_is_no_name_of_a_run_is_not_ours_to_touch() -> None:
    assert in_use("somebody-else")
    assert in_use("a.b.c.d")
