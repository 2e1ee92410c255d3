"""A sweep from beginning to end, or from where it was interrupted."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from harness import store
from harness.campaign import RunLine
from harness.errors import UserError
from harness.results import Verdict
from harness.sweep.cells import Cell, cells
from harness.sweep.executors import Executor
from harness.sweep.matrix import FORMAT_VERSION, Matrix, Place, check, places
from harness.sweep.table import Table
from harness.whole_file import write_whole

MATRIX = "matrix.json"
SUMMARY = "summary.json"
RUNS = "runs"
DEFAULT_ROOT = Path("chaos-sweeps")


class Progress(msgspec.Struct):
    """How far it is. The estimate is what the finished runs of this session took, for those that are left."""

    done: int
    total: int
    began_at: int
    seconds: float = 0.0

    @property
    def left_s(self) -> float | None:
        finished = self.done - self.began_at
        return None if not finished else self.seconds / finished * (self.total - self.done)


def create(root: Path, matrix: Matrix) -> Path:
    """A new folder with the matrix in it. Raises `UserError`."""
    check(matrix)
    wanted = root / f"{datetime.now():%Y%m%dT%H%M%S}-{matrix.name}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = store.make_unique(wanted)
        (folder / MATRIX).write_bytes(store.pretty(matrix))
    except OSError as error:
        raise UserError(
            f"cannot write to {root}: {error.strerror}: choose another folder with --out"
        ) from None
    return folder


def read(folder: Path) -> Matrix:
    """Of a sweep's folder. Raises `UserError`."""
    path = folder / MATRIX
    try:
        given = msgspec.json.decode(path.read_bytes())
        version = given.get("version") if isinstance(given, dict) else None
        if version != FORMAT_VERSION:
            raise UserError(f"{path} has format version {version}, this chaos reads version {FORMAT_VERSION}")
        return msgspec.convert(given, Matrix)
    except OSError as error:
        raise UserError(f"{folder} is no sweep: {path.name}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise UserError(f"{path}: not a matrix: {error}") from None


def run(folder: Path, executor: Executor, observe: Callable[[Progress, RunLine], None]) -> list[Cell]:
    """Runs what is not done yet; `observe` after each run. Run folders stay where they are the smallest of their
    cell that shows an anomaly, or that prove nothing. Ctrl-C ends it with the cells so far (see `unfinished`).
    Raises `UserError`; what is finished is kept."""
    matrix = read(folder)
    table = Table(folder)
    done = table.done()
    left = [(place, spec) for place, spec in places(matrix) if place not in done]
    progress = Progress(len(done), len(done) + len(left), len(done))
    keeper = Keeper(table)
    began = time.monotonic()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            for place, finished in executor.run(left, folder / RUNS):
                if finished.interrupted:
                    # Half a run says something else than a whole one: it is done again.
                    continue
                table.add(place, finished)
                keeper.look(place, finished)
                progress.done += 1
                progress.seconds = time.monotonic() - began
                observe(progress, finished)
        keeper.tidy(folder / RUNS)
        table.flush()
        return summarise(folder)
    except UserError as error:
        # First, as it may be a full disk.
        keeper.tidy(folder / RUNS)
        with contextlib.suppress(UserError):
            table.flush()
        raise UserError(f"{error}; finished runs are kept: {go_on(folder)}") from None


def unfinished(folder: Path, cells: list[Cell]) -> str | None:
    """A sentence where runs are left to be done."""
    matrix = read(folder)
    done, asked = sum(cell.runs for cell in cells), matrix.seeds * len(cells)
    return f"interrupted: {done} of {asked} runs are done: {go_on(folder)}" if done < asked else None


def go_on(folder: Path) -> str:
    """What to do with one that ended early."""
    return f"go on with `chaos sweep --resume {folder}`"


def summarise(folder: Path) -> list[Cell]:
    """The cells of what is there, written to `summary.json` too."""
    told = cells(read(folder), Table(folder).lines())
    try:
        write_whole(folder / SUMMARY, store.pretty(told))
    except OSError as error:
        raise UserError(f"cannot write {folder / SUMMARY}: {error.strerror}") from None
    return told


class Keeper:
    """Deletes run folders that nobody will look at."""

    def __init__(self, table: Table) -> None:
        self._best: dict[tuple[str, str, str], tuple[int, str]] = {}
        self._needed: dict[str, int] = {}
        for line in table.lines():
            if line["dir"] is not None and line["verdict"] == Verdict.UNKNOWN.value:
                self._needed[line["dir"]] = 1
            for name in line["anomalies"]:
                self._offer((line["row"], line["nemesis"], name), line["operations"], line["dir"])

    def look(self, place: Place, run: RunLine) -> None:
        if run.dir is None:
            return
        if run.verdict is Verdict.UNKNOWN:
            self._needed[run.dir] = 1
        for found in run.anomalies:
            self._offer((place.row, place.nemesis, found.name), sum(run.ops.values()), run.dir)
        self._drop(run.dir)

    def tidy(self, root: Path) -> None:
        """Deletes what runs left that were interrupted, or could not be finished. By name: a sweep may be moved."""
        needed = {Path(folder).name for folder, times in self._needed.items() if times}
        for spec in root.glob(f"*/{store.SPEC}"):
            if spec.parent.name not in needed and not spec.parent.is_symlink():
                shutil.rmtree(spec.parent, ignore_errors=True)

    def _offer(self, place: tuple[str, str, str], operations: int, folder: str | None) -> None:
        best = self._best.get(place)
        if folder is None or (best is not None and best[0] <= operations):
            return
        self._best[place] = (operations, folder)
        self._needed[folder] = self._needed.get(folder, 0) + 1
        if best is not None:
            self._needed[best[1]] -= 1
            self._drop(best[1])

    def _drop(self, folder: str) -> None:
        if not self._needed.get(folder) and (Path(folder) / store.SPEC).exists():
            shutil.rmtree(folder, ignore_errors=True)
