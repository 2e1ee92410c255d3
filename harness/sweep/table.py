"""One line a run, in Parquet files as they come, read with DuckDB.

A file is written under a hidden name and renamed: whoever reads a running sweep sees whole files only, and a
sweep that is killed loses the lines of the last few seconds, never a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.campaign import RunLine
from harness.errors import UserError
from harness.sweep.matrix import Place
from harness.whole_file import write_whole

FOLDER = "runs.parquet"
PARTS = "part-*.parquet"
LINES_A_FILE = 200
FLUSH_S = 5.0

COLUMNS = (
    "row",
    "nemesis",
    "seed",
    "verdict",
    "reason",
    "anomalies",
    "affected",
    "acknowledged",
    "available",
    "p50_ms",
    "p99_ms",
    "operations",
    "situations",
    "sim_seconds",
    "wall_seconds",
    "dir",
)


class Table:
    """The lines of one sweep. Raises `UserError` where pyarrow or DuckDB is missing, or a file cannot be written."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._arrow = _needed("pyarrow")
        self._parquet = _needed("pyarrow.parquet")
        self._duckdb = _needed("duckdb")
        self._folder = folder / FOLDER
        self._waiting: list[dict[str, Any]] = []
        self._clock = clock
        self._flushed = clock()

    def add(self, place: Place, run: RunLine) -> None:
        self._waiting.append(_line(place, run))
        if len(self._waiting) >= LINES_A_FILE or self._clock() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        self._flushed = self._clock()
        if not self._waiting:
            return
        table = self._arrow.Table.from_pylist(self._waiting, schema=self._schema())
        whole = self._arrow.BufferOutputStream()
        self._parquet.write_table(table, whole)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            number = len(list(self._folder.glob(PARTS)))
            write_whole(self._folder / f"part-{number:06}.parquet", whole.getvalue().to_pybytes())
        except OSError as error:
            raise UserError(f"cannot write {self._folder}: {error.strerror}") from None
        self._waiting = []

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line, in the order of row, nemesis and seed. A run that was done twice counts once."""
        self.flush()
        if not any(self._folder.glob(PARTS)):
            return
        with self._duckdb.connect() as connection:
            query = (
                "select * from read_parquet(?) qualify row_number() over "
                '(partition by "row", nemesis, seed order by wall_seconds) = 1 order by "row", nemesis, seed'
            )
            cursor = connection.execute(query, [str(self._folder / PARTS)])
            names = [column[0] for column in cursor.description]
            for values in cursor.fetchall():
                yield dict(zip(names, values, strict=True))

    def done(self) -> frozenset[Place]:
        return frozenset(Place(line["row"], line["nemesis"], line["seed"]) for line in self.lines())

    def _schema(self) -> Any:
        arrow = self._arrow
        counted = arrow.map_(arrow.string(), arrow.int64())
        kinds: dict[str, Any] = {
            "seed": arrow.int64(),
            "anomalies": arrow.list_(arrow.string()),
            "affected": counted,
            "situations": counted,
            "acknowledged": arrow.int64(),
            "operations": arrow.int64(),
            **dict.fromkeys(
                ("available", "p50_ms", "p99_ms", "sim_seconds", "wall_seconds"), arrow.float64()
            ),
        }
        return arrow.schema([(name, kinds.get(name, arrow.string())) for name in COLUMNS])


def _line(place: Place, run: RunLine) -> dict[str, Any]:
    return {
        "row": place.row,
        "nemesis": place.nemesis,
        "seed": place.seed,
        "verdict": run.verdict.value,
        "reason": run.reason,
        "anomalies": [found.name for found in run.anomalies],
        "affected": [(found.name, found.affected) for found in run.anomalies],
        "acknowledged": run.measures.acknowledged,
        "available": run.measures.available,
        "p50_ms": run.measures.p50_ms,
        "p99_ms": run.measures.p99_ms,
        "operations": sum(run.ops.values()),
        "situations": list(run.situations.items()),
        "sim_seconds": run.sim_seconds,
        "wall_seconds": run.wall_seconds,
        "dir": run.dir,
    }


def _needed(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise UserError(f"sweeps need {module.split('.')[0]}: pip install 'chaos-harness[sweep]'") from None
