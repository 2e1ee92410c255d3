"""`chaos report RUN…`: the HTML report of a run."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from harness import store
from harness.cli import options
from harness.errors import UserError


@click.command("report")
@click.argument("runs", metavar="RUN…", type=click.Path(path_type=Path), nargs=-1)
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@options.debug
def command(runs: tuple[Path, ...], show: bool) -> int:
    """Write report.html into each run folder and print its path.  [default: chaos-runs/latest]"""
    from reports.html import write_report

    for run in runs or (store.DEFAULT_ROOT / "latest",):
        folder = store.find(run).resolve()
        try:
            path = write_report(folder)
        except OSError as error:
            raise UserError(f"cannot write the report of {folder}: {error.strerror}") from None
        click.echo(str(path))
        if show:
            webbrowser.open(path.resolve().as_uri())
    return 0
