"""`chaos sweep`: configurations × nemeses × seeds, as a matrix of what was lost, duplicated or reordered."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from harness.campaign import RunLine
from harness.cli import options
from harness.cli.group import INTERRUPTED, INVALID, UNKNOWN, VALID
from harness.cli.progress import Progress
from harness.errors import UserError
from harness.sweep import campaign, matrix
from harness.sweep.cells import Cell
from harness.sweep.executors import LOCAL, executor

DEFAULT = matrix.Matrix(name="sweep", nemeses=("none",), rows=())


@click.command("sweep")
@click.option(
    "--matrix", "named", metavar="NAME|FILE", help="A shipped table (`--matrix list`) or a TOML file."
)
@click.option("--system", default=DEFAULT.system, show_default=True)
@click.option("--workload", default=DEFAULT.workload, show_default=True)
@click.option(
    "--nemesis", "nemeses", default="none", show_default=True, help="The columns: kill,partition+kill,…"
)
@click.option(
    "--vary", multiple=True, metavar="KEY=A,B,C", help="The rows: every combination of these settings."
)
@options.settings
@click.option("--bug", "bugs", multiple=True, metavar="NAME", help="In every row.")
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Runs of each cell.  [default: 10, or the matrix's]"
)
@click.option("--seed", type=int, help="The first one.  [default: 0, or the matrix's]")
@click.option("--nodes", type=int, default=DEFAULT.nodes, show_default=True)
@click.option("--concurrency", type=int, default=0, help="[default: the workload's]")
@click.option("--rate", type=float, default=0.0, help="[default: the workload's]")
@click.option("--time-limit", help="Simulated time of a main phase.  [default: 60s, or the matrix's]")
@click.option(
    "--sometimes",
    multiple=True,
    metavar="SITUATION",
    help="Every cell with faults and without a finding must have reached it (`chaos list situations`).",
)
@click.option("--executor", "where", default=LOCAL, show_default=True, help="local, or dask://host:port.")
@click.option("--cores", type=click.IntRange(min=1), help="Of this machine.  [default: all]")
@click.option("--out", type=click.Path(path_type=Path), default=campaign.DEFAULT_ROOT, show_default=True)
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="FOLDER", help="Go on with an interrupted one."
)
@options.as_json
@options.debug
def command(
    named: str | None,
    system: str,
    workload: str,
    nemeses: str,
    vary: tuple[str, ...],
    settings: tuple[str, ...],
    bugs: tuple[str, ...],
    seeds: int | None,
    seed: int | None,
    nodes: int,
    concurrency: int,
    rate: float,
    time_limit: str | None,
    sometimes: tuple[str, ...],
    where: str,
    cores: int | None,
    out: Path,
    resume: Path | None,
    as_json: bool,
) -> int:
    """Which settings lose data? Runs every configuration under every nemesis, many seeds each.

    Example: chaos sweep --workload produce --nemesis kill,partition --vary acks=0,1,all --seeds 20

    Exit code 1 where a cell disagrees with its prediction; 3 where a cell proves nothing: not run, only unknown runs,
    or runs without a finding that never reached what the nemesis is for (or --sometimes). Otherwise the table is the
    answer.
    """
    if named == "list":
        for name in matrix.shipped():
            click.echo(f"{name:<14}{matrix.load(name).about.split('. ')[0]}")
        return VALID
    if resume is None:
        asked = matrix.load(named) if named else None
        if asked is None:
            asked = matrix.Matrix(
                name=workload,
                system=system,
                workload=workload,
                nemeses=tuple(n.strip() for n in nemeses.split(",")),
                rows=matrix.varied(_varied(vary)),
            )
            rows = tuple(msgspec.structs.replace(row, bugs=bugs) for row in asked.rows)
            asked = msgspec.structs.replace(asked, rows=rows, nodes=nodes)
        elif vary or bugs:
            raise UserError("--vary and --bug make rows of their own: a --matrix has its rows already")
        asked = _adjusted(asked, settings, seeds, seed, concurrency, rate, time_limit)
        asked = msgspec.structs.replace(asked, situations=(*asked.situations, *sometimes))
        folder = campaign.create(out.resolve(), asked)
    else:
        folder = resume.resolve()
    progress = Progress()
    progress.on = progress.on and not as_json

    def observe(so_far: campaign.Progress, run: RunLine) -> None:
        left = so_far.left_s
        estimate = "" if left is None else f"  about {_duration(left)} left"
        progress.show(f"{so_far.done}/{so_far.total} runs  seed {run.seed} {run.verdict}{estimate}")

    try:
        cells = campaign.run(folder, executor(where, cores), observe)
    finally:
        progress.end()
    _tell(folder, cells, as_json)
    ended_early = campaign.unfinished(folder, cells)
    if ended_early is not None:
        click.echo(f"chaos: {ended_early}", err=True)
        return INTERRUPTED
    return _code(cells)


def _varied(vary: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in vary:
        key, equals, values = text.partition("=")
        if not equals or not all(v.strip() for v in values.split(",")):
            raise UserError(f"--vary {text}: expected KEY=A,B,C, as in --vary acks=0,1,all")
        found[key.strip()] = [value.strip() for value in values.split(",")]
    return found


def _adjusted(
    asked: matrix.Matrix,
    settings: tuple[str, ...],
    seeds: int | None,
    seed: int | None,
    concurrency: int,
    rate: float,
    time_limit: str | None,
) -> matrix.Matrix:
    return msgspec.structs.replace(
        asked,
        settings={**asked.settings, **options.parse_settings(settings)},
        seeds=asked.seeds if seeds is None else seeds,
        first_seed=asked.first_seed if seed is None else seed,
        concurrency=concurrency or asked.concurrency,
        rate=rate or asked.rate,
        time_limit_ms=asked.time_limit_ms if time_limit is None else options.parse_duration_ms(time_limit),
    )


def _tell(folder: Path, cells: list[Cell], as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"dir": str(folder), "cells": cells}).decode())
        return
    from reports.html import write_report
    from reports.matrix import text_table

    for path in dict.fromkeys(e.dir for cell in cells for e in cell.examples if e.dir is not None):
        try:
            if Path(path).exists() and not (Path(path) / "report.html").exists():
                write_report(Path(path))
        except Exception as error:
            click.echo(
                f"chaos: the report of {path} could not be written: {type(error).__name__}: {error}", err=True
            )
    told = [msgspec.to_builtins(cell) for cell in cells]
    click.echo(text_table(msgspec.to_builtins(campaign.read(folder)), told))
    for cell in cells:
        for sentence in cell.disagreements:
            click.echo(f"{cell.row} under {cell.nemesis}: {sentence}")
        if cell.missed:
            click.echo(f"{cell.row} under {cell.nemesis} proves nothing: {cell.missed}")
    click.echo(f"report  {write_page(folder)}")


def write_page(folder: Path) -> Path:
    """The sweep's table as a page. Raises `UserError`."""
    from reports.matrix import write_matrix

    try:
        path: Path = write_matrix(folder)
        return path
    except OSError as error:
        raise UserError(
            f"cannot write the page of {folder}: {error.strerror}; finished runs are kept: {campaign.go_on(folder)}"
        ) from None


def _code(cells: list[Cell]) -> int:
    if any(cell.disagreements for cell in cells):
        return INVALID
    return VALID if all(cell.proves for cell in cells) else UNKNOWN


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
