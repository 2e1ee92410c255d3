"""`chaos replay RUN`: run it again from its folder, and say whether it came out the same to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from harness import store
from harness.campaign import line, summarise
from harness.cli import options
from harness.cli.group import INTERRUPTED, UNKNOWN
from harness.cli.progress import Progress
from harness.cli.verdict import exit_code, print_outcome, to_json, write_report
from harness.determinism import first_difference
from harness.errors import UserError
from harness.execute import carry_out
from harness.plan import resolve


@click.command("replay")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=store.DEFAULT_ROOT,
    show_default=True,
    help="The new run folder goes here.",
)
@options.as_json
@options.debug
def command(run: Path, out: Path, as_json: bool) -> int:
    """Run a recorded test again, with its own schedule, and compare history and event trace."""
    folder = store.find(run).resolve()
    spec = msgspec.structs.replace(store.read_spec(folder), schedule=store.read_schedule(folder))
    # The version that runs now is recorded anew; the configuration must be the one of then.
    plan = resolve(spec)
    changed = sorted(
        k for k in {*spec.config, *plan.spec.config} if spec.config.get(k) != plan.spec.config.get(k)
    )
    if changed:
        raise UserError(
            f"{folder}: recorded by chaos {spec.chaos_version}, whose settings were other ones "
            f"({', '.join(changed[:5])}): replay it with that version"
        )
    progress = Progress()
    progress.on = progress.on and not as_json
    try:
        outcome = carry_out(plan, asked=spec, root=out, observe=progress.observe, begun=progress.begun)
    finally:
        progress.end()
    assert outcome.folder is not None
    report, failures = write_report(outcome.folder)
    for failure in outcome.cleanup + failures:
        click.echo(f"chaos: {failure}", err=True)
    summary = summarise([line(outcome)])
    if as_json:
        click.echo(to_json(summary))
    else:
        print_outcome(outcome, report)
    code = exit_code(summary)
    if spec.backend != "sim":
        click.echo(f"backend {spec.backend} is the real world: histories are not compared", err=as_json)
        return code
    same, sentence = _compared(folder, outcome.folder)
    click.echo(sentence, err=as_json)
    return code if same or code == INTERRUPTED else UNKNOWN


def _compared(old: Path, new: Path) -> tuple[bool, str]:
    difference = first_difference(old / store.HISTORY, new / store.HISTORY)
    if difference is not None:
        return False, f"NOT the same run: {difference.sentence}"
    then, now = _trace_digest(old), _trace_digest(new)
    if then is not None and then != now:
        return False, f"the histories are equal, but the event traces are not: {then} became {now}"
    with_trace = f" and event trace (digest {now})" if then is not None else ""
    return True, f"the same to the byte: history{with_trace}"


def _trace_digest(folder: Path) -> str | None:
    """None for a run that was killed before its result was written."""
    path = folder / store.RESULT
    if not path.exists():
        return None
    result: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    digest: str | None = result.get("trace_digest")
    return digest
