"""`chaos explore`: reach situations that no run has reached yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from harness import registry, store
from harness.cli import options
from harness.cli.group import INTERRUPTED, INVALID, UNKNOWN, VALID
from harness.cli.progress import Progress
from harness.cli.verdict import report_unless_valid
from harness.coverage import how_to_reach
from harness.errors import UserError
from harness.execute import Outcome
from harness.explore.search import Exploration, Search, Step
from harness.results import Verdict
from harness.spec import Spec

DEFAULT = Spec()
BAR = 40


@click.command("explore")
@click.option("--system", default=DEFAULT.system, show_default=True)
@click.option("--workload", default=DEFAULT.workload, show_default=True)
@click.option(
    "--nemesis", default="partition+kill+pause", show_default=True, help="Where the faults come from."
)
@click.option("--nodes", type=int, default=DEFAULT.nodes, show_default=True)
@click.option("--time-limit", default="30s", show_default=True, help="Simulated time of each run.")
@options.settings
@click.option("--bug", "bugs", multiple=True, metavar="NAME")
@click.option("--budget", default="10m", show_default=True, help="Wall time.")
@click.option("--runs", type=click.IntRange(min=1), help="At most so many.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--cores", type=click.IntRange(min=1), help="[default: all]")
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write the schedules of what reached something new.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=store.DEFAULT_ROOT,
    show_default=True,
    help="The folder of the first run of each anomaly goes here.",
)
@options.as_json
@options.debug
def command(
    system: str,
    workload: str,
    nemesis: str,
    nodes: int,
    time_limit: str,
    settings: tuple[str, ...],
    bugs: tuple[str, ...],
    budget: str,
    runs: int | None,
    seed: int,
    cores: int | None,
    keep: Path | None,
    out: Path,
    as_json: bool,
) -> int:
    """Run seeds; keep and mutate the schedules of those that reach something new, until the budget is spent.

    Prints the growth curve, the situations that were never reached and what reaches them, and the anomalies found on
    the way. Exit code 3 where no run proves anything, or the runs never reached what the nemesis is for.
    """
    spec = Spec(
        system=system,
        workload=workload,
        nemesis=nemesis,
        nodes=nodes,
        time_limit_ms=options.parse_duration_ms(time_limit),
        settings=dict(options.parse_settings(settings)),
        bugs=bugs,
        seed=seed,
    )
    progress = Progress()
    progress.on = progress.on and not as_json

    def observe(so_far: Exploration) -> None:
        last = so_far.curve[-1] if so_far.curve else Step(0, 0, 0, 0)
        progress.show(f"{so_far.runs} runs  {last.points} points  {len(so_far.found)} anomalies")

    search = Search(
        spec,
        budget_s=options.parse_duration_ms(budget, "--budget") / 1000,
        runs=runs,
        root=out.resolve(),
        after=report_of_findings,
        cores=cores,
        observe=observe,
    )
    try:
        exploration = search.run()
    finally:
        progress.end()
    if keep is not None:
        _keep(keep, exploration)
    if as_json:
        click.echo(msgspec.json.encode(exploration).decode())
    else:
        _tell(exploration, registry.load("systems", system))
    if exploration.interrupted:
        return INTERRUPTED
    if exploration.found:
        return INVALID
    return UNKNOWN if exploration.missed or exploration.unknown == exploration.runs else VALID


def report_of_findings(outcome: Outcome) -> tuple[str, ...]:
    return report_unless_valid(outcome) if outcome.result.verdict is Verdict.INVALID else ()


def _keep(folder: Path, exploration: Exploration) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kept in exploration.kept:
            path = folder / f"{kept.run_number:06}-seed-{kept.spec.seed}.json"
            path.write_bytes(store.pretty(kept.spec.schedule or kept.spec))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from None


def _tell(exploration: Exploration, system: Any) -> None:
    most = max((step.points for step in exploration.curve), default=1)
    for step in _thinned(exploration.curve):
        bar = "█" * max(1, step.points * BAR // most)
        click.echo(f"{step.runs:>6} runs {step.seconds:>7.1f} s  {step.points:>4} points  {bar}")
    click.echo(
        f"{exploration.runs} runs in {exploration.seconds:g} s; {len(exploration.kept)} reached something new"
        + (f"; {exploration.unknown} proved nothing" if exploration.unknown else "")
    )
    reached = sorted(exploration.reached.items(), key=lambda item: (item[1], item[0]))
    click.echo("situations (runs), rarest first: " + ", ".join(f"{name} {n}" for name, n in reached))
    if exploration.never:
        click.echo("never reached:")
    for name in exploration.never:
        click.echo(f"  {how_to_reach(name, system)}")
    for finding, folder in exploration.found:
        click.secho(f"{finding.name}: {finding.summary}", fg="red")
        click.echo(f"  kept   {folder}\n  next   chaos shrink {folder}")


def _thinned(curve: list[Step]) -> list[Step]:
    """At most a dozen steps, the last one always."""
    stride = max(1, len(curve) // 12)
    return [step for at, step in enumerate(curve) if at % stride == 0 or at == len(curve) - 1]
