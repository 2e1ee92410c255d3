"""`chaos ci`: the suite of chaos.toml or [tool.chaos], as a gate for changes."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import click
import msgspec

from harness.campaign import Pool, RunLine
from harness.cli import options
from harness.cli.group import INTERRUPTED, INVALID, UNKNOWN, VALID
from harness.cli.progress import Progress
from harness.cli.verdict import report_unless_valid
from harness.errors import UserError
from harness.execute import Outcome
from harness.gate import corpus, run, suite
from harness.plan import resolve
from harness.results import Verdict
from harness.shrink.case import Case, operations, with_settings
from harness.shrink.search import Budget, Search

COLOURS = {run.PASSED: "green", run.FAILED: "red", run.UNKNOWN: "yellow"}
SHRINK_S = 60.0


@click.command("ci")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--budget", help="Wall time: 90s, 10m, …  [default: the file's, or none]")
@click.option(
    "--shard", metavar="I/N", help="Every N-th test, from the I-th on: for N machines side by side."
)
@click.option("--record", is_flag=True, help="Add each new failure, shrunk, to the corpus.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML.")
@click.option("--summary", type=click.Path(path_type=Path), metavar="FILE", help="Write Markdown.")
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="FILE", help="Write an index of the failures."
)
@options.as_json
@options.debug
def command(
    file: Path | None,
    budget: str | None,
    shard: str | None,
    record: bool,
    junit: Path | None,
    summary: Path | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Run the suite in chaos.toml, or [tool.chaos] of pyproject.toml, and say whether a change may ship.

    Failures of the past are replayed first. On GitHub Actions the step's summary and annotations are written too.
    """
    started = time.monotonic()
    path = suite.find(file, Path())
    asked = suite.load(path)
    tests = asked.tests if shard is None else run.sharded(asked.tests, *_shard(shard))
    folder = path.parent / asked.corpus
    entries = corpus.read(folder) if shard is None or shard.startswith("1/") else []
    limit = budget if budget is not None else asked.budget
    progress = Progress()
    progress.on = progress.on and not as_json

    def observe(done: int, total: int, finished: RunLine) -> None:
        progress.show(f"{done}/{total} runs  seed {finished.seed} {finished.verdict}")

    root = (path.parent / asked.out).resolve()
    gate = run.Gate(
        asked,
        tests,
        root=root,
        budget_s=None
        if limit is None
        else options.parse_duration_ms(str(limit), "--budget" if budget else "budget") / 1000,
        after=keep_unless_valid,
        observe=observe,
    )
    try:
        answers = gate.replay(entries)
        for answer in answers:
            _show(answer, progress, as_json)
        for answer in gate.run():
            answers.append(answer)
            _show(answer, progress, as_json)
        if record and not gate.interrupted:
            _record(folder, gate, tests, answers, progress, as_json)
    finally:
        progress.end()
    _write(answers, time.monotonic() - started, junit, summary, html)
    if as_json:
        click.echo(msgspec.json.encode({"tests": answers}).decode())
    return INTERRUPTED if gate.interrupted else _code(answers)


def keep_unless_valid(outcome: Outcome) -> tuple[str, ...]:
    """A run that is not valid keeps its folder, with a report; the others would fill a machine of a CI service."""
    import shutil

    if outcome.folder is not None and outcome.result.verdict is Verdict.VALID:
        shutil.rmtree(outcome.folder, ignore_errors=True)
        return ()
    return report_unless_valid(outcome)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text}: expected I/N with I from 1 to N, as in --shard 2/4")
    return int(match[1]), int(match[2])


def _show(answer: run.Answer, progress: Progress, as_json: bool) -> None:
    if as_json:
        return
    progress.clear()
    outcome = click.style(f"{answer.outcome:<8}", fg=COLOURS[answer.outcome])
    click.echo(f"{outcome} {answer.name}: {'; '.join([answer.reason, *answer.notes])}")
    for failure in answer.failures:
        for found in failure.run.anomalies:
            click.echo(f"  seed {failure.run.seed}: {found.name}: {found.summary}")
        if failure.again:
            click.echo(f"  {failure.again}")
        click.echo(f"  reproduce  {failure.repro}")
        if failure.run.dir is not None and Path(failure.run.dir).exists():
            click.echo(f"  kept       {failure.run.dir}")


def _record(
    folder: Path,
    gate: run.Gate,
    tests: tuple[suite.Test, ...],
    answers: list[run.Answer],
    progress: Progress,
    as_json: bool,
) -> None:
    by_name = {test.name: test for test in tests}
    for answer in answers:
        test = by_name.get(answer.name)
        if test is None or test.on != "sim" or not answer.failures:
            continue
        failed = answer.failures[0].run
        found = next(f for f in failed.anomalies if f.name not in test.expect)
        spec = suite.spec_of(test, failed.seed)
        plan = resolve(spec)
        case = Case(
            with_settings(plan.spec, schedule=plan.schedule, nemesis="none", settings=spec.settings),
            operations(failed),
        )
        left = gate.left_s()
        seconds = SHRINK_S if left is None else min(SHRINK_S, left)
        if seconds <= 0:
            click.echo(
                f"chaos: {answer.name}: not recorded, the budget is spent: run `chaos ci --record` with a larger --budget",
                err=True,
            )
            continue
        progress.show(f"shrinking {answer.name}")
        with Pool() as pool:
            shrunk = Search(pool, found.name, Budget(seconds=seconds)).run(case)
        entry = corpus.Entry(
            anomaly=found.name, test=answer.name, summary=found.summary, spec=shrunk.case.spec
        )
        path = corpus.record(folder, entry)
        progress.clear()
        if not as_json:
            click.echo(f"recorded {path}: {shrunk.after}")


def _write(
    answers: list[run.Answer], seconds: float, junit: Path | None, summary: Path | None, html: Path | None
) -> None:
    from reports import gate as reports

    told = [msgspec.to_builtins(answer) for answer in answers]
    try:
        if junit is not None:
            junit.write_bytes(reports.junit(told))
        if summary is not None:
            summary.write_text(reports.markdown(told, seconds), encoding="utf-8")
        if html is not None:
            reports.write_index(html, told, seconds)
        step = os.environ.get("GITHUB_STEP_SUMMARY")
        if step:
            with Path(step).open("a", encoding="utf-8") as file:
                file.write(reports.markdown(told, seconds))
    except OSError as error:
        raise UserError(f"cannot write {error.filename}: {error.strerror}") from None
    except ModuleNotFoundError:
        raise UserError("--junit needs junitparser: pip install 'chaos-harness[ci]'") from None
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in reports.workflow_commands(told):
            click.echo(line)


def _code(answers: list[run.Answer]) -> int:
    outcomes = {answer.outcome for answer in answers}
    if run.FAILED in outcomes:
        return INVALID
    return UNKNOWN if run.UNKNOWN in outcomes else VALID
