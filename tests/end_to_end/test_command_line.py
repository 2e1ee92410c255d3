"""Through the command line, as a user does: verdicts, exit codes, JSON, one line for every mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.cli.group import chaos

pytestmark = pytest.mark.usefixtures("toy")
TOY = ("--system", "toy-bag", "--workload", "bag", "--time-limit", "5")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(chaos, [str(w) for w in words])


def chaos_test(out: Path, *words: str) -> Result:
    return call("test", *TOY, "--out", out, *words)


def result_of(run: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def process(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from harness.cli import main; main()", *(str(w) for w in words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def wait_for_lines(root: Path, count: int) -> Path:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for file in root.glob("2*/history.jsonl"):
            if file.read_bytes().count(b"\n") >= count:
                return file.parent
        time.sleep(0.01)
    raise AssertionError(f"no history with {count} lines in {root}")


def test_valid_is_exit_code_0_and_leaves_a_report(out: Path) -> None:
    run = chaos_test(out, "--nemesis", "toy-kill")
    assert run.exit_code == 0, run.output
    assert "valid" in run.stdout
    assert (out / "latest" / "result.json").exists()
    assert (out / "latest" / "report.html").exists()
    assert str(out) in run.stdout


def test_invalid_is_exit_code_1(out: Path) -> None:
    run = chaos_test(out, "--nemesis", "toy-kill", "--bug", "amnesia")
    assert run.exit_code == 1
    assert "lost" in run.stdout


def test_unknown_is_exit_code_3(out: Path) -> None:
    run = chaos_test(out, "--set", "bag.mischief=bug")
    assert run.exit_code == 3
    assert "TypeError" in run.stdout


def test_the_json_object(out: Path) -> None:
    told = result_of(chaos_test(out, "--nemesis", "toy-kill", "--bug", "amnesia", "--json", "--seed", "4"))
    assert told["verdict"] == "invalid"
    assert told["reason"] is None
    [run] = told["runs"]
    assert run["seed"] == 4
    [anomaly] = run["anomalies"]
    assert anomaly["name"] == "lost-write"
    assert anomaly["count"] > 1
    assert anomaly["summary"]
    assert set(run["ops"]) == {"ok", "fail", "info"}
    assert run["situations"]["node-served"] > 3
    assert run["sim_seconds"] > 5
    assert run["wall_seconds"] > 0
    assert Path(run["dir"], "history.jsonl").exists()


def test_many_seeds_on_all_cores(out: Path) -> None:
    run = chaos_test(out, "--nemesis", "toy-kill", "--runs", "5", "--seed", "10", "--json")
    told = result_of(run)
    assert run.exit_code == 0
    assert [r["seed"] for r in told["runs"]] == [10, 11, 12, 13, 14]
    assert len(list(out.glob("2*"))) == 5
    text = chaos_test(out, "--runs", "2").stdout
    assert "2 runs: 2 valid" in text
    assert "never reached: never" in text


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--bug", "amnesia", "--expect", "lost-write"), 0, "expected and found: lost-write"),
        (("--expect", "lost-write"), 1, "expected but not found: lost-write"),
        (("--bug", "amnesia", "--expect", "duplicate"), 1, "found but not expected: lost-write"),
    ],
)
def test_expectations(out: Path, words: tuple[str, ...], code: int, sentence: str) -> None:
    run = chaos_test(out, "--nemesis", "toy-kill", *words)
    assert run.exit_code == code
    assert sentence in run.stdout


def test_a_drawn_seed_is_printed(out: Path) -> None:
    run = chaos_test(out, "--seed", "random")
    seed = run.stdout.split()[1]
    assert f"--seed {seed}" in json.loads((out / "latest" / "result.json").read_text())["repro"]


def test_a_schedule_from_a_file(out: Path, tmp_path: Path) -> None:
    schedule = tmp_path / "faults.json"
    schedule.write_text('{"faults":[{"at_ms":1000,"kind":"kill","selector":"leader","duration_ms":500}]}')
    assert chaos_test(out, "--schedule", str(schedule)).exit_code == 0
    assert '"f":"kill"' in (out / "latest" / "history.jsonl").read_text()


def test_replay_is_the_same_to_the_byte(out: Path) -> None:
    chaos_test(out, "--nemesis", "toy-kill+toy-cut", "--seed", "3")
    [old] = out.glob("2*")
    replay = call("replay", old, "--out", out)
    assert replay.exit_code == 0, replay.output
    assert "the same to the byte" in replay.stdout
    lines = (old / "history.jsonl").read_bytes().splitlines(keepends=True)
    lines[40] = lines[40].replace(b'"process":', b'"process":1')
    (old / "history.jsonl").write_bytes(b"".join(lines))
    replay = call("replay", old, "--out", out)
    assert replay.exit_code == 3
    assert "history.jsonl line 41" in replay.stdout


def test_a_replay_of_an_undisturbed_run_keeps_its_verdict(out: Path) -> None:
    chaos_test(out)
    assert call("replay", out / "latest", "--out", out).exit_code == 0


def test_two_processes_agree(out: Path) -> None:
    run = chaos_test(out, "--nemesis", "toy-kill", "--verify-determinism")
    assert run.exit_code == 0
    assert "deterministic: history" in run.stdout


def test_check_judges_again_and_changes_nothing(out: Path) -> None:
    chaos_test(out, "--nemesis", "toy-kill", "--bug", "amnesia")
    folder = out / "latest"
    before = (folder / "result.json").read_bytes()
    again = call("check", folder, "--json")
    assert again.exit_code == 1
    [run] = result_of(again)["runs"]
    first = json.loads(before)
    assert run["ops"] == first["ops"]
    assert run["situations"] == first["situations"]
    assert (folder / "result.json").read_bytes() == before


def test_check_of_a_bare_history_needs_a_checker(out: Path, tmp_path: Path) -> None:
    chaos_test(out, "--nemesis", "toy-kill", "--bug", "amnesia")
    bare = tmp_path / "bare.jsonl"
    bare.write_bytes((out / "latest" / "history.jsonl").read_bytes())
    assert call("check", bare, "--checker", "bag-set").exit_code == 1
    nameless = call("check", bare)
    assert nameless.exit_code == 2
    assert "--checker" in nameless.stderr
    wrong = call("check", bare, "--checker", "bag-sets")
    assert "did you mean 'bag-set'" in wrong.stderr


def test_a_corrupt_history_is_named_with_its_line(out: Path) -> None:
    chaos_test(out)
    path = out / "latest" / "history.jsonl"
    lines = path.read_text().splitlines()
    lines[6] = "garbage"
    path.write_text("\n".join(lines) + "\n")
    run = call("check", out / "latest")
    assert run.exit_code == 2
    assert "line 7: not JSON" in run.stderr
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("test", "--system", "toy-bug"), "did you mean 'toy-bag'"),
        (("test", *TOY, "--workload", "bog"), "unknown workload 'bog'"),
        (("test", *TOY, "--nemesis", "toy-cute"), "did you mean 'toy-cut'"),
        (("test", *TOY, "--set", "bag.sise=1"), "did you mean 'bag.size'"),
        (("test", *TOY, "--set", "bag.size"), "expected KEY=VALUE"),
        (("test", *TOY, "--set", "bag.size=4"), "can never be satisfied"),
        (("test", *TOY, "--nemesis", "cpu"), "backends that can: docker"),
        (("test", *TOY, "--time-limit", "soon"), "expected seconds"),
        (("test", *TOY, "--seed", "x"), "'random'"),
        (("test", *TOY, "--nodes", "x"), "not a valid integer"),
        (("test", *TOY, "--out", "/proc/none/x"), "cannot write to /proc/none/x"),
        (("test", *TOY, "--schedule", "/none.json"), "/none.json: No such file"),
        (("tset",), "did you mean 'test'"),
        (("check", "/none"), "no such file or folder"),
        (("replay", "/tmp"), "is no run folder"),
        (("report", "/none"), "no such run"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(words: tuple[str, ...], message: str) -> None:
    run = call(*words)
    assert run.exit_code == 2, run.output
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert "Traceback" not in run.output


def test_debug_shows_where_a_mistake_was_noticed() -> None:
    run = call("test", "--system", "toy-bug", "--debug")
    assert run.exit_code == 2
    assert "Traceback" in run.stderr


def test_a_future_version_of_a_run_is_told(out: Path) -> None:
    chaos_test(out)
    spec = out / "latest" / "spec.json"
    spec.write_text(spec.read_text().replace('"version": 1', '"version": 9'))
    run = call("check", out / "latest")
    assert run.exit_code == 2
    assert "upgrade chaos" in run.stderr


def test_list_names_what_plugins_registered() -> None:
    run = call("list")
    assert run.exit_code == 0
    for name in ("toy-bag", "bag", "toy-kill", "bag-set", "sim", "local"):
        assert name in run.stdout
    settings = json.loads(
        call("list", "settings", "--system", "toy-bag", "--workload", "bag", "--json").stdout
    )
    assert "bag.size" in settings["settings"]
    assert "op.timeout.ms" in settings["settings"]


def test_doctor_finds_a_backend() -> None:
    run = call("doctor")
    assert run.exit_code == 0
    assert "ready:" in run.stdout


def test_help_answers_at_once() -> None:
    subprocess.run([sys.executable, "-c", HELP], check=True, capture_output=True)
    started = time.monotonic()
    run = subprocess.run([sys.executable, "-c", HELP], check=True, capture_output=True, text=True)
    assert "test" in run.stdout
    assert time.monotonic() - started < 1.0
    imported = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", HELP], check=True, capture_output=True, text=True
    ).stderr
    for heavy in ("asyncio", "aiokafka", "kio", "jinja2", "rich", "multiprocessing"):
        assert f"| {heavy}\n" not in imported.replace("  ", "")


HELP = "import sys; sys.argv = ['chaos', '--help']; from harness.cli import main; main()"


def test_ctrl_c_ends_a_run_early_and_judges_it(out: Path) -> None:
    words = ("test", *TOY, "--time-limit", "30m", "--nemesis", "toy-kill", "--out", out, "--json")
    running = process(*words)
    wait_for_lines(out, 2_000)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    [run] = json.loads(stdout)["runs"]
    assert run["verdict"] == "valid"
    assert 10 < run["sim_seconds"] < 1_790
    assert '"f":"read"' in (out / "latest" / "history.jsonl").read_text().splitlines()[-1]


def test_sigterm_ends_a_run_as_one_ctrl_c_does_however_often_it_comes(out: Path) -> None:
    words = ("test", *TOY, "--time-limit", "30m", "--nemesis", "toy-kill", "--out", out, "--json")
    running = process(*words)
    wait_for_lines(out, 2_000)
    running.send_signal(signal.SIGTERM)
    running.send_signal(signal.SIGTERM)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    [run] = json.loads(stdout)["runs"]
    assert run["verdict"] == "valid"
    assert '"f":"read"' in (out / "latest" / "history.jsonl").read_text().splitlines()[-1]


@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_ends_a_campaign_and_keeps_what_is_done(out: Path, whole_group: bool) -> None:
    words = ("test", *TOY, "--time-limit", "10m", "--runs", "40", "--cores", "1", "--out", out, "--json")
    running = process(*words)
    folder = wait_for_lines(out, 2_000)
    if whole_group:
        for worker in children(running.pid):
            os.kill(worker, signal.SIGTERM)
    running.send_signal(signal.SIGTERM)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    told = json.loads(stdout)
    assert str(folder) in [run["dir"] for run in told["runs"]]
    assert len(told["runs"]) < 5


def test_ctrl_c_twice_stops_at_once_and_still_judges(out: Path) -> None:
    words = ("test", *TOY, "--time-limit", "30m", "--set", "bag.mischief=spin")
    running = process(*words, "--concurrency", "1", "--out", out, "--json")
    wait_for_lines(out, 300)
    running.send_signal(signal.SIGINT)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    [run] = json.loads(stdout)["runs"]
    assert run["verdict"] == "unknown"
    assert "interrupted twice" in run["reason"]
    assert run["ops"]["ok"] > 100


def test_ctrl_c_ends_a_campaign_and_keeps_what_is_done(out: Path) -> None:
    words = ("test", *TOY, "--time-limit", "10m", "--runs", "40", "--cores", "1", "--out", out, "--json")
    running = process(*words)
    folder = wait_for_lines(out, 2_000)
    for worker in children(running.pid):
        os.kill(worker, signal.SIGINT)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    told = json.loads(stdout)
    assert str(folder) in [run["dir"] for run in told["runs"]]
    assert len(told["runs"]) < 5


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def test_kill_9_loses_no_line_and_check_judges_what_is_there(out: Path) -> None:
    words = ("test", *TOY, "--time-limit", "30m", "--nemesis", "toy-kill", "--out", out)
    running = process(*words)
    folder = wait_for_lines(out, 2_000)
    running.kill()
    running.communicate(timeout=60)
    lines = (folder / "history.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) >= 2_000
    assert all(line.endswith(b"\n") for line in lines)
    assert not (folder / "result.json").exists()
    judged = call("check", folder, "--json")
    assert judged.exit_code == 3
    told = result_of(judged)
    assert "killed before its end" in told["reason"]
    assert told["runs"][0]["ops"]["ok"] > 500
    assert (folder / "result.json").exists()


def test_the_hash_seed_is_pinned(out: Path) -> None:
    digests = []
    for seed in ("1", "2"):
        running = process("test", *TOY, "--nemesis", "toy-kill", "--out", out, PYTHONHASHSEED=seed)
        running.communicate(timeout=60)
        assert running.returncode == 0
        digests.append(json.loads((out / "latest" / "result.json").read_text())["trace_digest"])
    assert digests[0] == digests[1]
