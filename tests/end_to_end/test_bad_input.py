"""What a user can get wrong with the bundled broker: one line that says what to do, exit code 2, nothing
lost, no traceback. What holds of any system is tried with a toy in test_command_line."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.group import chaos

CHAOS = (sys.executable, "-c", "from harness.cli import main; main()")


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(chaos, [str(w) for w in words])


def refused(run: Result, *sentences: str) -> None:
    assert run.exit_code == 2, run.output
    assert len(run.stderr.splitlines()) == 1
    assert run.stdout == ""
    for sentence in sentences:
        assert sentence in run.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("test --workload eso", "did you mean 'eos'?"),
        ("test --workload prodcue", "did you mean 'produce'?"),
        ("test --nemesis partitoin", "did you mean 'partition'?"),
        ("test --nemesis kill+puase", "did you mean 'pause'?"),
        ("test --nemesis kill+", "expected names joined by '+'"),
        ("test --system brokr", "did you mean 'broker'?"),
        ("test --on simm", "did you mean 'sim'?"),
        ("test --client aiokafak", "expected one of aiokafka, aiokafka-plain"),
        ("test --set min.insync.replica=2", "did you mean 'min.insync.replicas'?"),
        ("test --set min.insync.replicas=two", "expected a whole number"),
        ("test --set acks=2", "expected one of 0, 1, all"),
        ("test --bug generation-not-fence", "did you mean 'generation-not-fenced'?"),
        ("test --expect lost-writ", "did you mean 'lost-write'?"),
        ("test --set min.insync.replicas=4", "give --set min.insync.replicas=3 or less"),
        ("test --nodes 2", "give --nodes 3 or --set replication.factor=2"),
        ("test --nodes 5 --set replication.factor=6", "give --nodes 6"),
        ("test --set broker.heartbeat.interval.ms=4000", "or every broker is fenced"),
        ("up brokr", "did you mean 'broker'?"),
        ("up broker --nodes 2", "give --nodes 3"),
        ("up broker --dir /dev/null/x", "give another --dir"),
        ("list settings --system brokr", "did you mean 'broker'?"),
    ],
)
def test_one_line_that_says_what_to_do(words: str, sentence: str) -> None:
    refused(call(*words.split()), sentence)


@pytest.mark.usefixtures("toy")
def test_a_workload_on_a_system_that_cannot_do_it() -> None:
    run = call("test", "--system", "toy-bag", "--workload", "eos")
    refused(run, "needs", "log-transactions", "system 'toy-bag' does not offer", "systems that do: broker")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not a schedule file"),
        ("[]", "expected a JSON object"),
        ('{"fault": []}', "unknown field `fault`"),
        ('{"version": 7, "faults": []}', "upgrade chaos"),
        ('{"faults": [{"kind": "kill", "selector": "b1"}]}', "missing required field `at_ms`"),
        ('{"faults": [{"at_ms": 1, "kind": "kil", "selector": "b1"}]}', "did you mean 'kill'?"),
        ('{"faults": [{"at_ms": 1, "kind": "kill", "selector": "b9"}]}', "did you mean 'b"),
        ('{"faults": [{"at_ms": 1, "kind": "kill", "selector": "leader(orders/0"}]}', "missing ')'"),
        ('{"faults": [{"at_ms": 1, "kind": "kill", "selector": "b1", "for_ms": 5}]}', "unknown field"),
        (
            '{"faults": [{"at_ms": 1, "kind": "slow", "selector": "b1", "params": {"latency": 5}}]}',
            "did you mean 'latency_ms'?",
        ),
    ],
)
def test_a_schedule_file_with_a_mistake(tmp_path: Path, text: str, sentence: str) -> None:
    schedule = tmp_path / "schedule.json"
    schedule.write_text(text)
    refused(call("test", "--schedule", schedule, "--out", tmp_path / "runs"), sentence)
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of the broker."""
    root = tmp_path_factory.mktemp("runs")
    run = call("test", "--workload", "produce", "--time-limit", "3", "--out", root)
    assert run.exit_code == 0, run.output
    return (root / "latest").resolve()


@pytest.fixture
def run_folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(recorded, tmp_path / "run"))


def test_a_torn_last_line_is_told_and_the_rest_is_judged(run_folder: Path) -> None:
    history = run_folder / "history.jsonl"
    history.write_bytes(history.read_bytes()[:-7])
    run = call("check", run_folder)
    assert run.exit_code in (0, 3), run.output
    [line] = run.stderr.splitlines()
    assert "is torn" in line
    assert "was left out" in line


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("garbage", "line 5: not JSON"),
        ("[]", "line 5: expected an object, got list"),
        ('{"index": 4}', "line 5: field 'time' is missing"),
        ('{"index":4,"time":9,"process":[1],"type":"ok","f":"x"}', "line 5: 'process' must be"),
        ('{"index":4,"time":9,"process":1,"type":"maybe","f":"x"}', "line 5: unknown type 'maybe'"),
        ('{"index":4,"time":true,"process":1,"type":"ok","f":"x"}', "line 5: 'time' must be a whole number"),
        ('{"index":2,"time":9,"process":1,"type":"ok","f":"x"}', "line 5: index 2 does not follow 3"),
        ("[" * 100_000, "line 5: "),
        ("\ufffd\0", "line 5: not JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_a_corrupt_history_is_named_with_its_line(run_folder: Path, line: str, sentence: str) -> None:
    path = run_folder / "history.jsonl"
    lines = path.read_text().splitlines()
    lines[4] = line
    path.write_text("\n".join(lines) + "\n")
    refused(call("check", run_folder), str(path), sentence)


@pytest.mark.parametrize("file", ["spec.json", "schedule.json"])
def test_a_run_of_a_future_version(run_folder: Path, file: str) -> None:
    path = run_folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    refused(call("check", run_folder), "format version 99", "upgrade chaos")
    refused(call("replay", run_folder), "format version 99", "upgrade chaos")


def test_a_full_disk_keeps_what_was_recorded(tmp_path: Path) -> None:
    """A limit on the size of a file looks to the writer as a full disk does: part of a line fits."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    ran = subprocess.run(
        [*CHAOS, "test", "--workload", "produce", "--time-limit", "60", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=limit,
    )
    assert ran.returncode == 2, ran.stderr
    [line] = ran.stderr.splitlines()
    assert "history.jsonl" in line
    assert "what was recorded so far is there" in line
    history = (tmp_path / "latest" / "history.jsonl").read_bytes()
    assert 55_000 < len(history) <= 60_000
    assert history.endswith(b"}\n")
    judged = call("check", tmp_path / "latest", "--json")
    assert judged.exit_code == 3, judged.output
    told = json.loads(judged.stdout)
    assert "killed before its end" in told["reason"]
    assert told["runs"][0]["ops"]["ok"] > 50


def test_debug_shows_the_traceback() -> None:
    run = call("test", "--set", "min.insync.replicas=4", "--debug")
    assert run.exit_code == 2
    assert "Traceback" in run.stderr
    assert run.stderr.splitlines()[-1].startswith("chaos: min.insync.replicas=4")
