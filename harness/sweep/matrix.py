"""What a sweep asks: rows of settings, columns of nemeses, seeds. A TOML file, or options of the command line."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from harness import registry
from harness.coverage import must_reach
from harness.errors import UserError, unknown_name
from harness.plan import resolve
from harness.spec import Spec
from harness.sweep.predictions import parse

FORMAT_VERSION = 1
SHIPPED = "harness.sweep.matrices"


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One configuration. `predict`: nemesis -> prediction; `workload` and the rest replace the matrix's own."""

    name: str
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    bugs: tuple[str, ...] = ()
    workload: str | None = None
    client: str | None = None
    nodes: int | None = None
    predict: dict[str, str] = msgspec.field(default_factory=dict)


class Matrix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`nemeses` are the columns. `about` is told above the table; `question` is what
    `chaos study` answers."""

    name: str
    nemeses: tuple[str, ...]
    rows: tuple[Row, ...]
    about: str = ""
    question: str = ""
    system: str = "broker"
    workload: str = "produce"
    nodes: int = 3
    concurrency: int = 0
    rate: float = 0.0
    time_limit_ms: int = 60_000
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    corollaries: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Anomaly -> those that may come with it wherever it was predicted."""
    situations: tuple[str, ...] = ()
    """Each must be reached by some run of every cell that has faults and finds nothing, or the cell proves nothing."""
    first_seed: int = 0
    seeds: int = 10
    version: int = FORMAT_VERSION


class Place(msgspec.Struct, frozen=True, order=True):
    """One run's place: row and nemesis by name, and the seed."""

    row: str
    nemesis: str
    seed: int


def spec_of(matrix: Matrix, row: Row, nemesis: str, seed: int) -> Spec:
    return Spec(
        system=matrix.system,
        workload=row.workload or matrix.workload,
        nemesis=nemesis,
        nodes=row.nodes or matrix.nodes,
        concurrency=matrix.concurrency,
        rate=matrix.rate,
        time_limit_ms=matrix.time_limit_ms,
        seed=seed,
        settings={**matrix.settings, **row.settings},
        bugs=row.bugs,
        client=row.client or Spec().client,
    )


def places(matrix: Matrix) -> Iterator[tuple[Place, Spec]]:
    """Seed by seed over the whole table, so that an interrupted sweep has something in every cell."""
    for seed in range(matrix.first_seed, matrix.first_seed + matrix.seeds):
        for row in matrix.rows:
            for nemesis in matrix.nemeses:
                yield Place(row.name, nemesis, seed), spec_of(matrix, row, nemesis, seed)


def check(matrix: Matrix) -> None:
    """Raises `UserError` for whatever would make a run impossible, before any begins."""
    if not matrix.rows or not matrix.nemeses:
        raise UserError(f"matrix '{matrix.name}': it has no {'rows' if matrix.nemeses else 'nemeses'}")
    names = [row.name for row in matrix.rows]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"matrix '{matrix.name}': two rows are called '{name}'")
    known = registry.anomalies()
    for name in {**matrix.corollaries, **dict.fromkeys(itertools.chain(*matrix.corollaries.values()))}:
        if name not in known:
            raise unknown_name("anomaly", name, known)
    must_reach(registry.load("systems", matrix.system), "", 0, matrix.situations)
    if matrix.seeds < 1:
        raise UserError(f"matrix '{matrix.name}': seeds: expected at least 1, got {matrix.seeds}")
    for row in matrix.rows:
        for nemesis, text in row.predict.items():
            if nemesis not in matrix.nemeses:
                raise unknown_name(f"nemesis in the prediction of row '{row.name}'", nemesis, matrix.nemeses)
            parse(text, known)
        for nemesis in matrix.nemeses:
            try:
                resolve(spec_of(matrix, row, nemesis, matrix.first_seed))
            except UserError as error:
                raise UserError(
                    f"matrix '{matrix.name}', row '{row.name}', nemesis '{nemesis}': {error}"
                ) from None


def shipped() -> list[str]:
    """Names of the matrices that come with chaos."""
    files = resources.files(SHIPPED).iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def load(name: str) -> Matrix:
    """A shipped one by name, or a TOML file by path."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        try:
            text = path.read_text()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        return read(text, str(path))
    if name not in shipped():
        raise unknown_name("matrix", name, shipped())
    return read((resources.files(SHIPPED) / f"{name}.toml").read_text(), name)


def read(text: str, where: str) -> Matrix:
    try:
        given = tomllib.loads(text)
        matrix = msgspec.convert(given, Matrix)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UserError(f"{where}: not a matrix: {error}") from None
    if matrix.version != FORMAT_VERSION:
        raise UserError(
            f"{where} has format version {matrix.version}, this chaos reads version {FORMAT_VERSION}"
        )
    return matrix


def varied(vary: Mapping[str, Sequence[str]]) -> tuple[Row, ...]:
    """The product of all given values; without any, one row of defaults."""
    keys = list(vary)
    return tuple(
        Row(
            name=", ".join(f"{k}={v}" for k, v in zip(keys, values, strict=True)) or "defaults",
            settings=dict(zip(keys, values, strict=True)),
        )
        for values in itertools.product(*vary.values())
    )
