"""`chaos study QUESTION.toml`: a sweep with a question, and an answer in words."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from harness.campaign import RunLine
from harness.cli import options
from harness.cli.group import INTERRUPTED, UNKNOWN, VALID
from harness.cli.progress import Progress
from harness.cli.sweep import write_page
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
    code 3 where silence proves nothing. QUESTION may also be the folder of one that was interrupted.
    """
    folder = _folder(question, seeds, out)
    asked = campaign.read(folder)
    progress = Progress()
    progress.on = progress.on and not as_json

    def observe(so_far: campaign.Progress, run: RunLine) -> None:
        progress.show(f"{so_far.done}/{so_far.total} runs")

    try:
        cells = campaign.run(folder, executor(where, cores), observe)
    finally:
        progress.end()
    ended_early = campaign.unfinished(folder, cells)
    told = answer(cells)
    code = VALID if all(cell.proves for cell in cells) else UNKNOWN
    if ended_early is not None:
        click.echo(f"chaos: {ended_early}", err=True)
        code = INTERRUPTED
    if as_json:
        click.echo(
            msgspec.json.encode({"question": asked.question, "answer": told, "dir": str(folder)}).decode()
        )
        return code
    click.secho(asked.question or asked.about, bold=True)
    for paragraph in told:
        click.echo(f"  {paragraph}")
    click.echo(f"report  {write_page(folder)}")
    return code


def _folder(question: str, seeds: int | None, out: Path) -> Path:
    """Of the sweep that answers it: one that has begun, or a new one."""
    if Path(question).is_dir():
        if seeds is not None:
            raise UserError(f"{question} has its seeds already: leave --seeds out, or begin another study")
        return Path(question).resolve()
    asked = matrix.load(question)
    if not asked.question and not asked.about:
        raise UserError(f'{question} asks nothing: add a line such as question = "Does acks=1 lose data?"')
    if seeds is not None:
        asked = msgspec.structs.replace(asked, seeds=seeds)
    return campaign.create(out.resolve(), asked)
