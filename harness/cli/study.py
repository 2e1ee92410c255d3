"""`chaos study QUESTION.toml`: a sweep with a question, and an answer in words."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from harness.campaign import RunLine
from harness.cli import options
from harness.cli.group import UNKNOWN, VALID
from harness.cli.progress import Progress
from harness.errors import UserError
from harness.sweep import campaign, matrix
from harness.sweep.executors import LOCAL, executor
from harness.sweep.study import answer


@click.command("study")
@click.argument("question")
@click.option("--seeds", type=click.IntRange(min=1), help="[default: the file's]")
@click.option("--executor", "where", default=LOCAL, show_default=True, help="local, or dask://host:port.")
@click.option("--cores", type=click.IntRange(min=1), help="[default: all]")
@click.option("--out", type=click.Path(path_type=Path), default=campaign.DEFAULT_ROOT, show_default=True)
@options.as_json
@options.debug
def command(question: str, seeds: int | None, where: str, cores: int | None, out: Path, as_json: bool) -> int:
    """Run the sweep of QUESTION (a matrix file with a `question`, or a shipped table) and answer in words.

    The answer says what was found under what, in how many runs, and how sure one may be of what was not found. Exit
    code 3 where silence proves nothing.
    """
    asked = matrix.load(question)
    if not asked.question and not asked.about:
        raise UserError(f"{question}: it has no `question`")
    if seeds is not None:
        asked = msgspec.structs.replace(asked, seeds=seeds)
    folder = campaign.create(out.resolve(), asked)
    progress = Progress()
    progress.on = progress.on and not as_json

    def observe(so_far: campaign.Progress, run: RunLine) -> None:
        progress.show(f"{so_far.done}/{so_far.total} runs")

    try:
        cells = campaign.run(folder, executor(where, cores), observe)
    finally:
        progress.end()
    told = answer(cells)
    code = VALID if all(cell.proves for cell in cells) else UNKNOWN
    if as_json:
        click.echo(
            msgspec.json.encode({"question": asked.question, "answer": told, "dir": str(folder)}).decode()
        )
        return code
    from reports.matrix import write_matrix

    click.secho(asked.question or asked.about, bold=True)
    for paragraph in told:
        click.echo(f"  {paragraph}")
    click.echo(f"report  {write_matrix(folder)}")
    return code
