"""Comparing two runs: the first line that differs is named."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness import determinism
from harness.errors import UserError
from harness.spec import Spec

pytestmark = pytest.mark.usefixtures("toy")
TOY = Spec(system="toy-bag", workload="bag", nemesis="toy-kill", time_limit_ms=2_000)


def files(tmp_path: Path, first: str, second: str) -> tuple[Path, Path]:
    paths = tmp_path / "a" / "history.jsonl", tmp_path / "b" / "history.jsonl"
    for path, text in zip(paths, (first, second), strict=True):
        path.parent.mkdir()
        path.write_text(text)
    return paths


def test_equal_files_do_not_differ(tmp_path: Path) -> None:
    assert determinism.first_difference(*files(tmp_path, "1\n2\n", "1\n2\n")) is None


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ("1\n2\n3\n", "1\nx\n3\n", "history.jsonl line 2: 2 became x"),
        ("1\n2\n", "1\n", "history.jsonl line 2: 2 became nothing"),
        ("", "1\n", "history.jsonl line 1: nothing became 1"),
    ],
)
def test_the_first_differing_line_is_named(tmp_path: Path, first: str, second: str, sentence: str) -> None:
    difference = determinism.first_difference(*files(tmp_path, first, second))
    assert difference is not None
    assert difference.sentence == sentence


def test_runs_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = determinism._run

    def drifting(spec: Spec, root: Path) -> Path:
        return real(msgspec.structs.replace(spec, seed=spec.seed + (root.name == "second")), root)

    monkeypatch.setattr(determinism, "_run", drifting)
    comparison = determinism.compare(TOY)
    assert not comparison.equal
    assert comparison.sentence.startswith("NOT deterministic: history.jsonl line ")


def test_when_only_the_trace_differs_its_first_event_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = determinism._run

    def disturbed(spec: Spec, root: Path) -> Path:
        folder = real(spec, root)
        if root.name == "second":
            result = folder / "result.json"
            result.write_text(result.read_text().replace('"trace_digest": "', '"trace_digest": "0'))
        if root.name == "second-traced":
            trace = folder / "trace.jsonl"
            lines = trace.read_bytes().splitlines(keepends=True)
            trace.write_bytes(b"".join(lines[:9]) + b"{}\n")
        return folder

    monkeypatch.setattr(determinism, "_run", disturbed)
    assert "trace.jsonl line 10" in determinism.compare(TOY).sentence


def test_the_real_world_is_not_compared() -> None:
    with pytest.raises(UserError, match="use --on sim"):
        determinism.compare(msgspec.structs.replace(TOY, backend="local"))
