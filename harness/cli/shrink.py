"""`chaos shrink RUN`: the smallest run that still shows the anomaly, and a pytest file of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import msgspec

from harness import store
from harness.campaign import Pool, RunLine
from harness.cli import options
from harness.cli.group import INTERRUPTED, UNKNOWN, VALID
from harness.cli.progress import Progress
from harness.cli.verdict import write_report
from harness.errors import UserError, unknown_name
from harness.execute import Outcome
from harness.shrink.case import Case, shows, with_settings
from harness.shrink.search import Budget, Search, Shrunk
from harness.shrink.test_file import file_name, test_file


@click.command("shrink")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--anomaly", help="The one to keep.  [default: the worst that the run reports]")
@click.option("--budget", default="5m", show_default=True, help="Stop after this time: 90s, 5m, …")
@click.option(
    "--runs", type=click.IntRange(min=1), default=600, show_default=True, help="Or after this many."
)
@click.option("--cores", type=click.IntRange(min=1), help="Runs at once.  [default: all cores]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=store.DEFAULT_ROOT,
    show_default=True,
    help="The shrunk run's folder goes here.",
)
@options.as_json
@options.debug
def command(
    run: Path, anomaly: str | None, budget: str, runs: int, cores: int | None, out: Path, as_json: bool
) -> int:
    """Make a failing run small: fewer faults, operations, clients, nodes and less time, with the same anomaly.

    Each candidate is a run in simulation. What is left is stored as a run of its own, with its report, its
    schedule and a pytest file that fails until the mistake is gone.
    """
    folder = store.find(run).resolve()
    spec = store.read_spec(folder)
    if spec.backend != "sim":
        raise UserError(
            f"{run}: a run on '{spec.backend}': only simulation can repeat a run often enough; find it there first "
            f"with `chaos test --schedule {folder / store.SCHEDULE} --runs 20`"
        )
    found, operations = _recorded(folder)
    kept = _chosen(anomaly, found, run)
    # The client has a place of its own in the specification.
    settings = {k: v for k, v in spec.settings.items() if k != "client"}
    schedule = store.read_schedule(folder)
    case = Case(with_settings(spec, schedule=schedule, nemesis="none", settings=settings), operations)
    progress = Progress()
    progress.on = progress.on and not as_json

    def tell(name: str, smaller: Case, tried: int) -> None:
        progress.show(f"{tried} runs  {smaller.size}  (fewer {name})")

    try:
        with Pool(cores) as pool:
            seconds = options.parse_duration_ms(budget, "--budget") / 1000
            shrunk = Search(pool, kept, Budget(runs=runs, seconds=seconds), tell).run(case)
            if shrunk.interrupted:
                pool.stop()
        # Not in the pool of the search: a Ctrl-C has ended that one's processes.
        with Pool(1) as pool:
            final = pool.answer(pool.submit(shrunk.case.spec, out.resolve(), _finish))
    finally:
        progress.end()
    assert final is not None
    assert final.dir is not None
    test = _write_test(Path(final.dir), shrunk, final)
    _tell(shrunk, final, test, as_json)
    if shrunk.interrupted:
        return INTERRUPTED
    return VALID if shows(final, kept) else UNKNOWN


def _finish(outcome: Outcome) -> tuple[str, ...]:
    return () if outcome.folder is None else write_report(outcome.folder)[1]


def _recorded(folder: Path) -> tuple[list[str], int]:
    """Names of the anomalies that the run reports, and how many operations it had."""
    path = folder / store.RESULT
    try:
        result: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        names = [a["name"] for r in result["results"] for a in r["anomalies"] if not a.get("allowed")]
        return list(dict.fromkeys(names)), sum(result["ops"].values())
    except FileNotFoundError:
        raise UserError(
            f"{folder} has no {store.RESULT}: judge it first with `chaos check {folder}`"
        ) from None
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a result file: {type(error).__name__}: {error}") from None


def _chosen(asked: str | None, found: list[str], run: Path) -> str:
    if not found:
        raise UserError(f"{run}: its verdict names no anomaly: there is nothing to shrink")
    if asked is None:
        from reports.witness import rank

        return min(found, key=rank)
    if asked not in found:
        raise unknown_name("--anomaly", asked, found)
    return asked


def _write_test(folder: Path, shrunk: Shrunk, final: RunLine) -> Path:
    summary = next((f.summary for f in final.anomalies if f.name == shrunk.anomaly), "")
    spec = shrunk.case.spec
    path = folder / file_name(shrunk.anomaly, spec)
    command = shlex.join(["chaos", "test", "--schedule", store.SCHEDULE, "--seed", str(spec.seed), "…"])
    try:
        path.write_text(test_file(shrunk.anomaly, summary, spec, command))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    return path


def _tell(shrunk: Shrunk, final: RunLine, test: Path, as_json: bool) -> None:
    if as_json:
        told = {
            "anomaly": shrunk.anomaly,
            "before": shrunk.before,
            "after": shrunk.after,
            "runs": shrunk.runs,
            "seconds": shrunk.seconds,
            "exhausted": shrunk.exhausted,
            "dir": final.dir,
            "test": str(test),
        }
        click.echo(msgspec.json.encode(told).decode())
        return
    click.echo(f"{shrunk.anomaly}")
    click.echo(f"  before  {shrunk.before}")
    click.echo(f"  after   {shrunk.after}")
    click.echo(
        f"  {shrunk.runs} runs in {shrunk.seconds:g} s"
        + (", budget spent: --budget and --runs give more" if shrunk.exhausted else "")
        + (", interrupted" if shrunk.interrupted else "")
    )
    for found in final.anomalies:
        if found.name == shrunk.anomaly:
            click.echo(f"  {found.summary}")
    click.echo(f"run   {final.dir}")
    click.echo(f"test  {test}")
