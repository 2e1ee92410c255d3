"""The live line: on a terminal only, and without a trace in the run."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from harness.cli.progress import Progress, describe
from harness.cli.watch import Watcher, count
from harness.execute import carry_out
from harness.plan import resolve
from harness.runner import Live
from harness.spec import Spec


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_into_a_pipe() -> None:
    pipe = io.StringIO()
    progress = Progress(pipe)
    progress.observe(Live())
    progress.show("text")
    progress.end()
    assert pipe.getvalue() == ""


def test_the_line_is_redrawn_at_most_ten_times_a_second() -> None:
    terminal = Terminal()
    now = iter(i / 100 for i in range(10_000))
    progress = Progress(terminal, clock=lambda: next(now))
    for _ in range(200):
        progress.observe(Live())
    assert 5 < terminal.getvalue().count("\r") < 40
    progress.end()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_what_the_line_says() -> None:
    live = Live(
        now_ns=12_340_000_000, phase="run", faults=("kill leader(x)",), ops={"ok": 7, "fail": 0, "info": 1}
    )
    assert describe(live, 2) == "run       12.3 s  7 ok  0 fail  1 info  ✗ 2 anomalies  ⚡ kill leader(x)"
    assert "anomal" not in describe(live, 0)


@pytest.mark.usefixtures("toy")
def test_watching_a_run_changes_nothing_in_it(tmp_path: Path) -> None:
    spec = Spec(system="toy-bag", workload="bag", nemesis="toy-kill", bugs=("amnesia",), time_limit_ms=5_000)
    alone = carry_out(resolve(spec), asked=spec, root=tmp_path)
    progress = Progress(Terminal())
    watched = carry_out(
        resolve(spec), asked=spec, root=tmp_path, observe=progress.observe, begun=progress.begun
    )
    progress.end()
    assert watched.result.trace_digest == alone.result.trace_digest
    assert watched.folder is not None
    assert count(watched.folder) == len(watched.result.anomalies) > 0


@pytest.mark.real
@pytest.mark.usefixtures("toy")
def test_another_process_counts_the_anomalies(tmp_path: Path) -> None:
    spec = Spec(system="toy-bag", workload="bag", nemesis="toy-kill", bugs=("amnesia",), time_limit_ms=5_000)
    outcome = carry_out(resolve(spec), asked=spec, root=tmp_path)
    assert outcome.folder is not None
    watcher = Watcher(outcome.folder)
    assert watcher.anomalies() == 0
    deadline = time.monotonic() + 20
    while not watcher.anomalies() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert watcher.anomalies() == len(outcome.result.anomalies)
    watcher.close()
