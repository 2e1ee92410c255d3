"""Writes the reference from what the code declares: `make docs`. A test holds the pages against it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from harness import registry, timeouts
from harness.catalogue import Entry, exposing
from harness.cli import group
from harness.clusters.docker.settings import SETTINGS as DOCKER
from harness.clusters.ssh.settings import SETTINGS as SSH
from harness.fault_parameters import PARAMETERS
from harness.profiles import profiles_of
from harness.repro import command as reproduce
from harness.schedule import UNDO
from harness.settings import Setting
from harness.sim.settings import SETTINGS as SIMULATOR

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/reference/generate.py (`make docs`). Change the code, not this page. -->\n"

EXIT_CODES = (
    (group.VALID, "`valid`: no violation found; or exactly the anomalies that `--expect` names"),
    (group.INVALID, "`invalid`: a violation, with its witness; or something else than `--expect` names"),
    (group.BAD_INPUT, "bad input or a missing piece of the environment; one line on stderr says what to do"),
    (group.UNKNOWN, "`unknown`: the run proves nothing either way, and says why"),
    (group.INTERRUPTED, "interrupted by Ctrl-C or SIGTERM; what was recorded is stored and judged"),
)


def pages() -> dict[str, str]:
    """File name -> text."""
    made = {
        "commands.md": _commands(),
        "settings.md": _settings(),
        "nemeses.md": _nemeses(),
        "anomalies.md": _anomalies(),
        "bugs.md": _bugs(),
        "situations.md": _of_systems("situations", "Situations", SITUATIONS),
    }
    return {name: f"{NOTE}\n{text.rstrip()}\n" for name, text in made.items()}


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────


def _commands() -> str:
    context = click.Context(group.chaos, info_name="chaos")
    parts = ["# Commands and exit codes", "| exit code | means |\n|---|---|"]
    parts[-1] += "".join(f"\n| {code} | {text} |" for code, text in EXIT_CODES)
    for name in group.COMMANDS:
        command = group.chaos.get_command(context, name)
        assert command is not None
        usage = " ".join(["chaos", name, *command.collect_usage_pieces(context)[1:]])
        parts.append(f"## {usage}\n\n{_paragraphs(command.help or '')}\n\n{_options(command)}")
    return "\n\n".join(parts)


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(p.split()) for p in inspect.cleandoc(text).split("\n\n"))


def _options(command: click.Command) -> str:
    context = click.Context(command, max_content_width=10_000, terminal_width=10_000)
    rows = []
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            rows.append((f"`{_cell(record[0])}`", _cell(re.sub(r"\s+", " ", record[1]))))
    return _table(("option", "meaning"), rows)


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────


def _settings() -> str:
    parts = [
        "# Settings",
        "What `--set KEY=VALUE` takes. Systems keep their own names: the broker's are Kafka's.",
    ]
    told: set[str] = set()
    for name in registry.names("systems"):
        system = registry.load("systems", name)
        parts.append(_settings_of(f"System `{name}`", system.settings, told))
        parts.append(_profiles_of(name, profiles_of(system)))
    for name in registry.names("workloads"):
        parts.append(_settings_of(f"Workload `{name}`", registry.load("workloads", name).settings, told))
    parts.append(_settings_of("Harness", timeouts.SETTINGS, told))
    parts.append(_settings_of("Simulator (`--on sim`)", SIMULATOR, told))
    parts.append(_settings_of("Containers (`--on docker`)", DOCKER, told))
    parts.append(_settings_of("Hosts (`--on ssh`)", SSH, told))
    return "\n\n".join(part for part in parts if part)


def _settings_of(title: str, settings: Iterable[Setting], told: set[str]) -> str:
    """Each key once, where it is declared first."""
    fresh = sorted((s for s in settings if s.name not in told), key=lambda s: s.name)
    told.update(s.name for s in fresh)
    rows = [(f"`{s.name}`", f"`{_value(s.default)}`", _takes(s), s.scope, _cell(s.doc)) for s in fresh]
    return f"## {title}\n\n" + _table(("key", "default", "takes", "read by", "meaning"), rows) if rows else ""


def _profiles_of(name: str, profiles: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (f"`{profile}`", ", ".join(f"`{key}={_value(value)}`" for key, value in chosen.items()))
        for profile, chosen in profiles.items()
    ]
    return (
        f"### Profiles of `{name}` (`--profile`)\n\n" + _table(("profile", "settings"), rows) if rows else ""
    )


def _code(value: Any) -> str:
    return f"`{_value(value)}`" if value != "" else "none"


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _takes(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    what = {"int": "whole number", "float": "number", "bool": "`true`, `false`", "str": "text"}[setting.kind]
    match (setting.minimum, setting.maximum):
        case (None, None):
            return what
        case (low, None):
            return f"{what}, at least {low:g}"
        case (None, high):
            return f"{what}, at most {high:g}"
        case (low, high):
            return f"{what}, {low:g} to {high:g}"


# ── nemeses and faults ───────────────────────────────────────────────────────────────────────────────────

NEMESES = """\
A nemesis is a strategy: from a cluster's shape and a seed it makes a schedule of faults. `--nemesis a+b`
composes several, `--schedule FILE` takes the faults from a file instead (see
[how to replay](../how-to/replay.md))."""

FAULTS = """\
What a schedule is made of. `selector` says whom a fault hits, and is resolved when it fires: a node (`b1`), a
role (`brokers`, `controllers`, `clients`), `all`, `random`, `minority`, `majority`, `leader(orders/0)`,
`followers(orders/0)`, `isr(orders/0)`, `replicas(orders/0)`, `outside-isr(orders/0)`, `coordinator(ID)`,
`group-coordinator(GROUP)`, `controller`; of a store `replicas(KEY)`, `owner(KEY)`, `outside(KEY)` (who keeps no copy) and,
under consensus, `leader(KEY)`; `spares` (nodes that do not belong to the cluster now); also `one-of(SELECTOR)`, and `SELECTOR+SELECTOR` and
`SELECTOR-SELECTOR`. A function without its argument takes one of the run's own topics or ids at random."""


def _nemeses() -> str:
    rows = []
    for name in registry.names("nemeses"):
        nemesis = registry.load("nemeses", name)
        rows.append((f"`{name}`", _codes(sorted(nemesis.needs)), _cell(nemesis.description)))
    kinds = []
    for kind, undo in UNDO.items():
        told = [f"`{p.name}` ({_takes(p)}; default {_code(p.default)}): {p.doc}" for p in PARAMETERS[kind]]
        kinds.append((f"`{kind}`", f"`{undo}`", _cell("<br>".join(told))))
    backends = [
        (f"`{name}`", _codes(sorted(registry.load("backends", name).capabilities)))
        for name in registry.names("backends")
    ]
    return "\n\n".join(
        [
            "# Nemeses and faults",
            NEMESES,
            _table(("nemesis", "needs", "what it does"), rows),
            "## Kinds of fault",
            FAULTS,
            _table(("kind", "ends with", "parameters"), kinds),
            "## What each backend can do",
            _table(("backend", "kinds"), backends),
        ]
    )


# ── anomalies, bugs, situations ──────────────────────────────────────────────────────────────────────────

ANOMALIES = """\
Every violation has a name, and every finding of it the operations that prove it. Each checker judges from the
history and the declared configuration alone."""
BUGS = """\
Real mistakes of real systems: what went wrong, where it is described, the test that exposes it, what it must be
called, and the safe twin that must stay silent under the same faults. They are there to test the tests: a harness
that does not find them finds nothing. `chaos bugs NAME` tells one of them, `chaos bugs --verify NAME` runs it; those
marked † have a schedule of their own, which `--verify` runs beside random ones."""
KINDS = {
    "mutant": "Mistakes in the code, switched on with `--bug NAME` at the place where they were made.",
    "configuration": "Settings that promise less than people expect of them.",
}
SITUATIONS = """\
What a run may get into. Each run counts them: a situation that a campaign never reached is one that it says
nothing about."""


def _anomalies() -> str:
    parts = ["# Anomalies", ANOMALIES]
    for name in registry.names("checkers"):
        checker = registry.load("checkers", name)
        rows = [(f"`{anomaly}`", _cell(line)) for anomaly, line in sorted(checker.anomalies.items())]
        parts.append(f"## Checker `{name}`\n\n{checker.description[0].upper()}{checker.description[1:]}.")
        if rows:
            parts.append(_table(("anomaly", "meaning"), rows))
    return "\n\n".join(parts)


def _bugs() -> str:
    parts = ["# Bugs", BUGS]
    for name in registry.names("systems"):
        entries: tuple[Entry, ...] = tuple(getattr(registry.load("systems", name), "catalogue", ()))
        for kind, introduction in KINDS.items():
            rows = [_bug(name, entry) for entry in entries if entry.kind == kind]
            if rows:
                head = ("name", "what goes wrong", "source", "exposed by", "called", "safe twin")
                title = f"## System `{name}`: {'mistakes' if kind == 'mutant' else 'configurations'}"
                parts += [title, introduction, _table(head, rows)]
    return "\n\n".join(parts)


def _bug(system: str, entry: Entry) -> tuple[str, ...]:
    words = reproduce(exposing(entry, system, 0)).removeprefix("chaos test ").removesuffix(" --seed 0")
    return (
        f"`{entry.name}`" + ("" if entry.directed is None else " †"),
        _cell(entry.mechanism),
        _cell(entry.source),
        f"`{_cell(words)}`",
        " or ".join(f"`{name}`" for name in entry.expect),
        _cell(entry.remedy),
    )


def _of_systems(attribute: str, title: str, introduction: str) -> str:
    parts = [f"# {title}", introduction]
    for name in registry.names("systems"):
        found = getattr(registry.load("systems", name), attribute)
        rows = [(f"`{key}`", _cell(line)) for key, line in found.items()]
        parts.append(f"## System `{name}`\n\n" + _table(("name", "meaning"), rows))
    return "\n\n".join(parts)


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(_lines(head, rows))


def _lines(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text)
