from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import control, faketime
from harness.errors import UserError
from harness.faketime import FakedClock, check_fakeable
from harness.schedule import Fault, Schedule
from systems.etcd.system import EtcdSystem

CLOCK = Schedule((Fault(at_ms=0, kind="clock", selector="all"),))


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakedClock:
    monkeypatch.setattr(faketime, "library", lambda: Path("/lib/libfaketimeMT.so.1"))
    return FakedClock(tmp_path / "faketime")


def offset(tmp_path: Path) -> float:
    return float((tmp_path / "faketime").read_text())


def test_the_file_says_how_far_the_clock_is_ahead(clock: FakedClock, tmp_path: Path) -> None:
    assert offset(tmp_path) == 0
    clock.set(control.Clock(-1_500.0, 1.0, time.monotonic_ns()))
    assert offset(tmp_path) == -1.5
    assert not clock.drifts


def test_drift_is_a_row_of_steps(clock: FakedClock, tmp_path: Path) -> None:
    clock.set(control.Clock(0.0, 2.0, time.monotonic_ns() - 3 * 10**9))
    assert clock.drifts
    first = offset(tmp_path)
    assert 3.0 <= first < 4.0
    time.sleep(0.01)
    clock.update()
    assert offset(tmp_path) > first


def test_the_library_is_loaded_after_a_change_of_user(clock: FakedClock) -> None:
    words = clock.command(["setpriv", "--reuid=1", "--", "postgres", "-D", "data"])
    assert words[:4] == ["setpriv", "--reuid=1", "--", "env"]
    assert words[-3:] == ["postgres", "-D", "data"]
    assert clock.command(["ledgerd"])[0] == "env"


def test_a_clock_that_is_not_ours_needs_the_setting() -> None:
    system = EtcdSystem()
    with pytest.raises(UserError, match="--set faketime=true"):
        check_fakeable("etcd", system, {"faketime": False}, CLOCK)
    check_fakeable("etcd", system, {"faketime": True}, CLOCK)
    check_fakeable("etcd", system, {"faketime": False}, Schedule())


class OwnClocks:
    def __init__(self, *, disposable: bool) -> None:
        self._disposable = disposable

    def sets_clocks(self, config: Mapping[str, Any]) -> bool:
        return self._disposable


def test_disposable_hosts_need_no_setting() -> None:
    system = EtcdSystem()
    check_fakeable("etcd", system, {"faketime": False}, CLOCK, OwnClocks(disposable=True))
    with pytest.raises(UserError, match="disposable in the inventory") as refused:
        check_fakeable("etcd", system, {"faketime": False}, CLOCK, OwnClocks(disposable=False))
    assert "\n" not in str(refused.value)


def test_a_missing_library_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(faketime, "library", lambda: None)
    with pytest.raises(UserError, match="apt-get install libfaketime"):
        FakedClock(tmp_path / "faketime")
