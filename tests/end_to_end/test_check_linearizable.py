"""`chaos check` on histories of registers, through the command line: JSON lines and Jepsen's EDN, with keys in the
operations and in their values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.group import chaos

STEPS = [
    *((f, n, n) for n in range(1, 8) for f in ("write", "read")),
    ("cas", [7, 8], [7, 8]),
    ("read", None, 8),
]
"""f, value asked, value answered; reads ask nothing."""


def events(stale: bool) -> list[dict[str, object]]:
    steps = [*STEPS, ("read", None, 7)] if stale else STEPS
    found: list[dict[str, object]] = []
    for key in ("x", "y"):
        for f, asked, answered in steps if key == "x" else STEPS:
            for type, value in (("invoke", None if f == "read" else asked), ("ok", answered)):
                n = len(found)
                found.append(
                    {"index": n, "time": n, "process": 0, "type": type, "f": f, "key": key, "value": value}
                )
    return found


def as_json(path: Path, stale: bool) -> Path:
    path.write_text("".join(json.dumps(e) + "\n" for e in events(stale)))
    return path


def as_edn(path: Path, stale: bool) -> Path:
    """Keys in the values, as Jepsen's `independent` writes them."""

    def form(value: object) -> str:
        if isinstance(value, list):
            return f"[{' '.join(map(form, value))}]"
        return "nil" if value is None else str(value)

    path.write_text(
        "".join(
            f"{{:process {e['process']}, :type :{e['type']}, :f :{e['f']}, :value [{e['key']} {form(e['value'])}], "
            f":index {e['index']}, :time {e['time']}}}\n"
            for e in events(stale)
        )
    )
    return path


def check(*words: str | Path) -> Result:
    return CliRunner().invoke(chaos, ["check", *(str(w) for w in words)])


@pytest.mark.parametrize("write", [as_json, as_edn])
@pytest.mark.parametrize("ask", [("--checker", "linearizable"), ("--model", "cas-register")])
def test_a_valid_and_a_stale_history(tmp_path: Path, write: object, ask: tuple[str, str]) -> None:
    assert callable(write)
    name = "history.edn" if write is as_edn else "history.jsonl"
    valid = check(write(tmp_path / name, False), *ask)
    assert valid.exit_code == 0, valid.output
    stale = check(write(tmp_path / name, True), *ask)
    assert stale.exit_code == 1
    assert "key x: stale-read: process 0 read `7`" in stale.output


def test_models_are_listed_and_a_wrong_one_is_corrected(tmp_path: Path) -> None:
    listed = check("--list-models")
    assert listed.exit_code == 0
    for name in ("register", "cas-register", "multi-register", "counter", "set", "queue", "lock"):
        assert name in listed.output.split()
    wrong = check(
        as_json(tmp_path / "history.jsonl", False), "--checker", "linearizable", "--model", "regster"
    )
    assert wrong.exit_code == 2
    assert "did you mean 'register'?" in wrong.output


def test_two_open_operations_of_one_process_are_named_with_their_line(tmp_path: Path) -> None:
    path = as_json(tmp_path / "history.jsonl", False)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], *lines[5:]]))
    told = check(path, "--checker", "linearizable")
    assert told.exit_code == 2
    assert "line 5" in told.output
