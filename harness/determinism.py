"""Does a seed reproduce to the byte? Two runs in two processes, and the first line in which they differ."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import zip_longest
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from harness import store
from harness.errors import UserError
from harness.execute import execute
from harness.spec import Spec

HASH_SEED = "0"
"""The pinned one (`harness.cli`): client libraries iterate over sets of strings, which no other can undo."""
TRACE = "trace.jsonl"


class Difference(msgspec.Struct, frozen=True):
    """`first` and `second` are the differing lines, None where one file has ended."""

    file: str
    line: int
    first: str | None
    second: str | None

    @property
    def sentence(self) -> str:
        return f"{self.file} line {self.line}: {_cut(self.first)} became {_cut(self.second)}"


class Comparison(msgspec.Struct, frozen=True):
    seed: int
    equal: bool
    history_digest: str | None
    trace_digest: str | None
    sentence: str


def first_difference(first: Path, second: Path) -> Difference | None:
    """Line by line; None when the files are equal to the byte."""
    with first.open("rb") as one, second.open("rb") as other:
        for number, (a, b) in enumerate(zip_longest(one, other), start=1):
            if a != b:
                return Difference(first.name, number, _text(a), _text(b))
    return None


def compare(spec: Spec) -> Comparison:
    """Runs the spec twice. Raises `UserError` on a backend that is not the simulator."""
    if spec.backend != "sim":
        raise UserError(f"--verify-determinism: backend '{spec.backend}' is the real world: use --on sim")
    with tempfile.TemporaryDirectory(prefix="chaos-verify-") as root:
        folders = [_run(spec, Path(root) / name) for name in ("first", "second")]
        digests = [_digests(folder) for folder in folders]
        history, trace = digests[0]
        if digests[0] == digests[1]:
            sentence = f"deterministic: history {history}, trace {trace}"
            return Comparison(spec.seed, True, history, trace, sentence)
        difference = first_difference(*(folder / store.HISTORY for folder in folders)) or _in_trace(
            spec, Path(root)
        )
        where = difference.sentence if difference else f"the traces differ ({trace} and {digests[1][1]})"
        return Comparison(spec.seed, False, history, trace, f"NOT deterministic: {where}")


def _in_trace(spec: Spec, root: Path) -> Difference | None:
    """Runs again with the whole trace kept, to name the first event that differs."""
    traced = msgspec.structs.replace(spec, settings={**spec.settings, "sim.trace": True})
    folders = [_run(traced, root / name) for name in ("first-traced", "second-traced")]
    paths = [folder / TRACE for folder in folders]
    return first_difference(*paths) if all(p.exists() for p in paths) else None


def _run(spec: Spec, root: Path) -> Path:
    """In a process of its own, which takes the hash seed from the environment at its start."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = HASH_SEED
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return Path(pool.submit(_execute, msgspec.json.encode(spec), str(root)).result())
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before


def _execute(spec: bytes, root: str) -> str:
    return str(execute(msgspec.json.decode(spec, type=Spec), root=Path(root)).folder)


def _digests(folder: Path) -> tuple[str | None, str | None]:
    result: dict[str, Any] = msgspec.json.decode((folder / store.RESULT).read_bytes())
    return result["history_digest"], result["trace_digest"]


def _text(line: bytes | None) -> str | None:
    return None if line is None else line.decode(errors="replace").rstrip("\n")


def _cut(line: str | None) -> str:
    if line is None:
        return "nothing"
    return line if len(line) <= 200 else line[:200] + "…"
