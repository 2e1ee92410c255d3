"""Logs of client libraries: whose, when, bounded, and never in the way of who logs."""

from __future__ import annotations

import contextvars
import logging
import warnings
from pathlib import Path

import pytest

from harness.client_log import HERE, NAME, ClientLog, client_log

log = logging.getLogger("some.library")


def lines(folder: Path) -> list[str]:
    return (folder / NAME).read_text().splitlines()


def test_a_line_says_when_and_whose(tmp_path: Path) -> None:
    context = contextvars.copy_context()
    context.run(HERE.set, "client-3")
    with client_log(tmp_path) as handler:
        assert handler is not None
        log.error("before there is a cluster")
        handler.now_ns = lambda: 2_500_000_000
        context.run(log.warning, "no %s", "answer")
        log.info("not worth a line")
        warnings.warn("nobody awaited it", RuntimeWarning, stacklevel=1)
    first, second, third = lines(tmp_path)[:3]
    assert first.split(maxsplit=4) == [
        "0.000000",
        "harness",
        "ERROR",
        "some.library:",
        "before there is a cluster",
    ]
    assert second.split() == ["2.500000", "client-3", "WARNING", "some.library:", "no", "answer"]
    assert "nobody awaited it" in third


def test_the_terminal_stays_empty(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers
    with client_log(None) as handler:
        assert handler is None
        log.error("dropped")
    assert logging.getLogger().handlers == before
    assert capfd.readouterr() == ("", "")


def test_a_flood_is_cut_off_and_counted(tmp_path: Path) -> None:
    handler = ClientLog(tmp_path / NAME, limit_bytes=300)
    for number in range(100):
        handler.handle(logging.makeLogRecord({"msg": f"again {number}", "levelno": logging.ERROR}))
    handler.close()
    assert 300 < (tmp_path / NAME).stat().st_size < 500
    assert lines(tmp_path)[-1].endswith("more messages were left out")


def test_a_message_that_cannot_be_formatted_is_no_error_of_who_logs(tmp_path: Path) -> None:
    with client_log(tmp_path):
        log.error("%d apples", "many")
    assert "'%d apples' cannot be formatted" in lines(tmp_path)[0]


def test_a_full_disk_is_no_error_of_who_logs() -> None:
    handler = ClientLog(Path("/dev/full"))
    for _ in range(1_000):
        handler.handle(logging.makeLogRecord({"msg": "x" * 100, "levelno": logging.ERROR}))
    handler.close()
