"""`chaos check RUN|HISTORY`: judge what was recorded, again or for the first time, without any cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

from harness import edn, registry, store
from harness.campaign import RunLine, line, summarise
from harness.checker import CheckContext
from harness.cli import options
from harness.cli.group import BAD_INPUT
from harness.cli.verdict import check_expected, exit_code, expectation, print_outcome, to_json
from harness.errors import UserError, unknown_name
from harness.execute import Outcome, judge_run
from harness.history import History
from harness.judge import RunResult, judge
from harness.results import LEFT_OUT
from harness.runner import Problem, Recording
from harness.schedule import KINDS
from harness.spec import Spec


def list_models(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Every model that a checker knows, with what it says."""
    if not wanted or context.resilient_parsing:
        return
    for name in registry.names("checkers"):
        for model, says in getattr(registry.load("checkers", name), "models", {}).items():
            click.echo(f"{model:16}{says}  ({name})")
    context.exit()


@click.command("check")
@click.argument("what", metavar="RUN|HISTORY", type=click.Path(path_type=Path))
@click.option("--checker", "checkers", multiple=True, metavar="NAME", help="Instead of the workload's own.")
@click.option(
    "--model", metavar="NAME", help="What the history is held against (--list-models); names the checker too."
)
@click.option(
    "--consistency-model", metavar="NAME", help="elle: the isolation it must show, as serializable."
)
@click.option("--linearizable-keys", is_flag=True, help="elle, rw-register: each key is linearizable.")
@click.option("--sequential-keys", is_flag=True, help="elle, rw-register: each key is sequential.")
@click.option(
    "--wfr-keys", is_flag=True, help="elle, rw-register: on each key a write follows what was read."
)
@click.option(
    "--list-models", is_flag=True, expose_value=False, is_eager=True, callback=list_models, help="And exit."
)
@click.option("--expect", multiple=True, metavar="ANOMALY", help="Exit 0 when exactly these are found.")
@options.settings
@options.as_json
@options.debug
def command(
    what: Path,
    checkers: tuple[str, ...],
    model: str | None,
    consistency_model: str | None,
    linearizable_keys: bool,
    sequential_keys: bool,
    wfr_keys: bool,
    expect: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Judge a run folder, or a bare history.jsonl: no cluster, no run.

    What cannot be judged is told, the rest is judged, and the exit code is 2. A run that was killed in the middle is judged by what it had written; its result is then stored. A
    result that exists is left as it is.
    """
    if not what.exists():
        raise UserError(f"{what}: no such file or folder: expected a run folder or a history.jsonl")
    check_expected(expect)
    folder = _folder(what)
    given = {
        "model": model,
        "consistency-model": consistency_model,
        "linearizable-keys": linearizable_keys or None,
        "sequential-keys": sequential_keys or None,
        "wfr-keys": wfr_keys or None,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    if folder is None:
        checkers = checkers or _checkers_of(model)
        typed = _typed(options.parse_settings(settings))
        context = CheckContext(config=typed, options=asked)
        history = _read(what, checkers, context)
        outcome = _bare(history, checkers, context)
    elif model is not None:
        raise UserError("--model is for a bare history: a run says itself what it must satisfy")
    else:
        outcome = _run(folder, store.read_run_history(what), checkers, asked)
    for warning in (*outcome.result.warnings, *outcome.cleanup):
        click.echo(f"chaos: {warning}", err=True)
    summary = summarise([_line(outcome, what)])
    if as_json:
        click.echo(to_json(summary))
    else:
        print_outcome(outcome, None)
        sentence = expectation(summary, expect)
        if sentence is not None:
            click.echo(sentence)
    left_out = [line for result in outcome.result.results for line in result.measures.get(LEFT_OUT, ())]
    for line_told in left_out:
        click.echo(f"chaos: {line_told}", err=True)
    return BAD_INPUT if left_out else exit_code(summary, expect)


def _checkers_of(model: str | None) -> tuple[str, ...]:
    """The checker that knows the model."""
    if model is None:
        return ()
    known = {
        name: checker
        for checker in registry.names("checkers")
        for name in getattr(registry.load("checkers", checker), "models", {})
    }
    if model not in known:
        raise unknown_name("model", model, known)
    return (known[model],)


def _read(path: Path, checkers: tuple[str, ...], context: CheckContext) -> History:
    """A bare history, in the form of its own that a single checker may have for big ones (`read`)."""
    if edn.is_edn(path):
        return store.read_run_history(path)
    loaded = [registry.load("checkers", name) for name in checkers]
    if len(loaded) == 1 and hasattr(loaded[0], "read"):
        history: History = loaded[0].read(path, context)
        return history
    return store.read_run_history(path)


def _folder(what: Path) -> Path | None:
    """The run folder that a history belongs to, if it does."""
    folder = what if what.is_dir() else what.parent
    if (folder / store.SPEC).exists():
        return folder
    if what.is_dir():
        raise UserError(f"{what} is no run folder: it has no {store.SPEC}")
    return None


def _run(folder: Path, history: History, checkers: tuple[str, ...], asked: Mapping[str, object]) -> Outcome:
    spec = store.read_spec(folder)
    system = registry.load("systems", spec.system)
    stored = folder / store.RESULT
    recording = Recording(events=store.read_events(folder))
    if stored.exists():
        before = _stored(stored)
        checker_failures = tuple(f"{name}: the checker raised" for name in registry.names("checkers"))
        recording.problems = [p for p in before.problems if not p.reason.startswith(checker_failures)]
    else:
        before = None
        recording.problems = [Problem("the run was killed before its end: judged by what it had written")]
    recording.end_ns = history.end_ns
    own = registry.load("workloads", spec.workload).checkers
    scheduled = len(store.read_schedule(folder).faults) if (folder / store.SCHEDULE).exists() else 0
    result = judge_run(spec, system, checkers or own, history, recording, scheduled, asked)
    if before is not None:
        for name in ("interrupted", "repro", "sim_seconds", "wall_seconds", "phases", "steps"):
            setattr(result, name, getattr(before, name))
        result.history_digest, result.trace_digest = before.history_digest, before.trace_digest
    else:
        result.sim_seconds = round(history.end_ns / 1e9, 3)
        if not checkers:
            try:
                store.write_result(folder, result)
            except UserError as error:
                # A verdict that could not be stored is still told: on a full disk it is all there is.
                return Outcome(spec, result, folder, (str(error),))
    return Outcome(spec, result, folder)


def _stored(path: Path) -> RunResult:
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunResult)
    except msgspec.MsgspecError as error:
        raise UserError(
            f"{path}: not a result of this chaos: {error}: remove it to have it written anew"
        ) from None


def _bare(history: History, checkers: tuple[str, ...], context: CheckContext) -> Outcome:
    if not checkers:
        raise UserError(
            "a bare history does not say what it must satisfy: name it with --checker "
            f"(known: {', '.join(registry.names('checkers'))})"
        )
    fired = sum(1 for op in history.faults if op.type == "invoke" and op.f in KINDS)
    result = judge(history, context, checkers, scheduled=fired or None)
    result.sim_seconds = round(history.end_ns / 1e9, 3)
    return Outcome(Spec(system="", workload="", config=dict(context.config)), result, None)


def _typed(settings: dict[str, str]) -> dict[str, object]:
    """Settings that no declaration types: numbers and booleans by their looks."""
    typed: dict[str, object] = {}
    for key, text in settings.items():
        try:
            typed[key] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            typed[key] = text
    return typed


def _line(outcome: Outcome, what: Path) -> RunLine:
    """As of a run, but nothing was interrupted now, and a bare history stands for its folder."""
    told = line(outcome)
    return msgspec.structs.replace(told, dir=told.dir or str(what), interrupted=False)
