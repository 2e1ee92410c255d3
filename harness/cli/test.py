"""`chaos test`: run a workload under faults, on one seed or many, and judge it."""

from __future__ import annotations

import secrets
from pathlib import Path

import click
import msgspec

from harness import registry, store
from harness.campaign import RunLine, line, run_seeds, summarise
from harness.cli import options
from harness.cli.group import UNKNOWN
from harness.cli.progress import Progress
from harness.cli.verdict import (
    campaign_text,
    check_expected,
    exit_code,
    expectation,
    print_outcome,
    report_unless_valid,
    run_text,
    to_json,
    write_report,
)
from harness.coverage import covered, missed, must_reach
from harness.errors import UserError
from harness.execute import carry_out
from harness.plan import FINALS, resolve
from harness.spec import Spec

DEFAULT = Spec()


@click.command("test")
@click.option("--system", default=DEFAULT.system, show_default=True, help="What is tested.")
@click.option("--workload", default=DEFAULT.workload, show_default=True, help="What its clients do.")
@click.option("--nemesis", default=DEFAULT.nemesis, show_default=True, help="What breaks; join with '+'.")
@click.option("--schedule", type=click.Path(path_type=Path), help="Faults from a file instead of a nemesis.")
@click.option("--on", "backend", default=DEFAULT.backend, show_default=True, help="Where the cluster runs.")
@click.option("--nodes", type=int, default=DEFAULT.nodes, show_default=True, help="Size of the cluster.")
@click.option("--concurrency", type=int, default=0, help="Client slots.  [default: the workload's]")
@click.option(
    "--rate", type=float, default=0.0, help="Operations a second, all clients.  [default: the workload's]"
)
@click.option("--time-limit", default="60", show_default=True, help="Length of the main phase: 90, 90s, 2m.")
@click.option("--seed", default="0", show_default=True, help="A number, or 'random' to draw and print one.")
@click.option(
    "--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Seeds from --seed on."
)
@click.option("--cores", type=click.IntRange(min=1), help="Processes for --runs.  [default: all cores]")
@click.option("--client", default=DEFAULT.client, show_default=True, help="Client library.")
@options.profile
@options.settings
@click.option("--bug", "bugs", multiple=True, metavar="NAME", help="Switch a known mistake of the system on.")
@click.option(
    "--consistency-model",
    metavar="NAME",
    help="elle, bank: the isolation it must show.  [default: what the system promises]",
)
@click.option(
    "--sometimes",
    multiple=True,
    metavar="SITUATION",
    help="At least one run must reach this, else the verdict is unknown.",
)
@click.option("--expect", multiple=True, metavar="ANOMALY", help="Exit 0 when exactly these are found.")
@click.option(
    "--final",
    type=click.Choice(FINALS),
    default=DEFAULT.final,
    show_default=True,
    help="What heals at the end.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=store.DEFAULT_ROOT,
    show_default=True,
    help="Run folders go here.",
)
@click.option("--trace", is_flag=True, help="Keep the whole event trace (simulation only; large).")
@click.option("--verify-determinism", is_flag=True, help="Run twice, in two processes, and compare.")
@options.as_json
@options.debug
@click.pass_context
def command(
    context: click.Context,
    system: str,
    workload: str,
    nemesis: str,
    schedule: Path | None,
    backend: str,
    nodes: int,
    concurrency: int,
    rate: float,
    time_limit: str,
    seed: str,
    runs: int,
    cores: int | None,
    client: str,
    profile: str,
    settings: tuple[str, ...],
    bugs: tuple[str, ...],
    consistency_model: str | None,
    sometimes: tuple[str, ...],
    expect: tuple[str, ...],
    final: str,
    out: Path,
    trace: bool,
    verify_determinism: bool,
    as_json: bool,
) -> int:
    """Run a workload against a cluster while faults fire, heal, read everything back, and judge.

    Example: chaos test --nemesis partition+kill --workload eos --set acks=1 --runs 20
    """
    check_expected(expect)
    given: dict[str, object] = dict(options.parse_settings(settings))
    if consistency_model is not None:
        given |= _consistency_model(workload, consistency_model)
    if trace:
        given["sim.trace"] = True
    spec = Spec(
        system=system,
        workload=workload,
        nemesis=nemesis,
        backend=backend,
        nodes=nodes,
        concurrency=concurrency,
        rate=rate,
        time_limit_ms=options.parse_duration_ms(time_limit),
        seed=_seed(seed),
        final=final,
        profile=profile,
        settings=given,
        bugs=bugs,
        schedule=None if schedule is None else store.read_schedule(schedule),
        client=client,
    )
    if seed == "random" and not as_json:
        click.echo(f"seed {spec.seed}")
    if verify_determinism:
        return _verify(spec, runs, as_json)
    if runs > 1:
        return _many(spec, runs, cores, out, sometimes, expect, as_json)
    return _one(spec, out, sometimes, expect, as_json)


def _seed(text: str) -> int:
    if text == "random":
        return secrets.randbelow(2**31)
    try:
        return int(text)
    except ValueError:
        raise UserError(f"--seed {text}: expected a whole number or 'random'") from None


def _consistency_model(workload: str, name: str) -> dict[str, object]:
    """Raises `UserError` for a workload that is not judged by its isolation."""
    key = "elle.consistency-model"
    judged = [n for n in registry.names("workloads") if key in _keys(n)]
    if workload not in judged:
        raise UserError(
            f"--consistency-model is for workloads of transactions ({', '.join(judged)}), not for '{workload}'"
        )
    return {key: name}


def _keys(workload: str) -> list[str]:
    return [setting.name for setting in registry.load("workloads", workload).settings]


def _warn(text: str) -> None:
    click.echo(f"chaos: {text}", err=True)


def _one(spec: Spec, out: Path, sometimes: tuple[str, ...], expect: tuple[str, ...], as_json: bool) -> int:
    plan = resolve(spec)
    wanted = must_reach(plan.system, spec.nemesis, 1, sometimes)
    progress = Progress()
    progress.on = progress.on and not as_json
    try:
        outcome = carry_out(plan, asked=spec, root=out, observe=progress.observe, begun=progress.begun)
    finally:
        progress.end()
    assert outcome.folder is not None
    report, failures = write_report(outcome.folder)
    for failure in outcome.cleanup + failures:
        _warn(failure)
    summary = covered(summarise([line(outcome)]), plan.system, wanted)
    if as_json:
        click.echo(to_json(summary))
    else:
        print_outcome(outcome, report)
        if missed(summary.runs, wanted):
            click.echo(f"unknown: {summary.reason}")
        _tell_expectation(expectation(summary, expect))
    return exit_code(summary, expect)


def _many(
    spec: Spec,
    runs: int,
    cores: int | None,
    out: Path,
    sometimes: tuple[str, ...],
    expect: tuple[str, ...],
    as_json: bool,
) -> int:
    """Reports are written for the runs that are not valid; `chaos report` writes any other."""
    plan = resolve(spec)
    wanted = must_reach(plan.system, spec.nemesis, runs, sometimes)
    progress = Progress()
    progress.on = progress.on and not as_json
    lines: list[RunLine] = []
    seeds = range(spec.seed, spec.seed + runs)
    for run in run_seeds(spec, seeds, root=out, cores=cores, after=report_unless_valid):
        lines.append(run)
        progress.clear()
        for failure in run.cleanup:
            _warn(failure)
        if not as_json:
            click.echo(run_text(run))
        progress.show(f"{len(lines)}/{runs} runs")
    progress.clear()
    summary = covered(summarise(lines), plan.system, wanted)
    if as_json:
        click.echo(to_json(summary))
    else:
        click.echo(campaign_text(summary))
        _tell_expectation(expectation(summary, expect))
    return exit_code(summary, expect)


def _tell_expectation(sentence: str | None) -> None:
    if sentence is not None:
        click.echo(sentence)


def _verify(spec: Spec, runs: int, as_json: bool) -> int:
    from harness.determinism import compare

    differing = 0
    for seed in range(spec.seed, spec.seed + runs):
        comparison = compare(msgspec.structs.replace(spec, seed=seed))
        differing += not comparison.equal
        click.echo(
            msgspec.json.encode(comparison).decode() if as_json else f"seed {seed}: {comparison.sentence}"
        )
    return UNKNOWN if differing else 0
