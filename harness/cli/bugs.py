"""`chaos bugs`: the catalogue of real mistakes, and whether they are caught."""

from __future__ import annotations

import textwrap

import click
import msgspec

from harness import registry
from harness.catalogue import Entry
from harness.cli import options
from harness.cli.group import INVALID, VALID
from harness.cli.progress import Progress
from harness.errors import UserError, unknown_name
from harness.proving import Proof, Seen, prove
from harness.repro import command as reproduce

COLOURS = {"caught": "green", "missed": "yellow", "misnamed": "red"}


@click.command("bugs")
@click.argument("names", nargs=-1)
@click.option("--system", default="broker", show_default=True)
@click.option("--verify", is_flag=True, help="Run each, directed and random, and its safe twin.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="For --verify.")
@click.option("--seed", type=int, default=0, show_default=True, help="The first one.")
@click.option("--cores", type=click.IntRange(min=1), help="[default: all]")
@options.as_json
@options.debug
def command(
    names: tuple[str, ...], system: str, verify: bool, seeds: int, seed: int, cores: int | None, as_json: bool
) -> int:
    """The catalogue: mistakes that were really made, what exposes them, and what they must be called.

    With --verify: caught, missed or misnamed, how often, and after how many operations. Exit code 1 where one is
    not caught, or a safe twin is not silent.
    """
    entries = _entries(system, names)
    if verify:
        return _verify(system, entries, range(seed, seed + seeds), cores, as_json)
    if as_json:
        click.echo(msgspec.json.encode(entries).decode())
    elif names:
        for entry in entries:
            _describe(system, entry)
    else:
        width = max(len(entry.name) for entry in entries)
        for entry in entries:
            click.echo(f"  {entry.name:<{width}}  {entry.kind[:6]:<6}  {entry.mechanism}")
    return VALID


def _entries(system: str, names: tuple[str, ...]) -> tuple[Entry, ...]:
    every: tuple[Entry, ...] = tuple(getattr(registry.load("systems", system), "catalogue", ()))
    if not every:
        raise UserError(f"system '{system}' has no catalogue of bugs")
    by_name = {entry.name: entry for entry in every}
    for name in names:
        if name not in by_name:
            raise unknown_name("bug", name, by_name)
    return tuple(by_name[name] for name in names) if names else every


def _describe(system: str, entry: Entry) -> None:
    from harness.catalogue import exposing

    click.secho(entry.name, bold=True)
    rows = {
        "mechanism": entry.mechanism,
        "source": entry.source,
        "kind": f"{entry.kind}, priority {entry.priority}",
        "called": " or ".join(entry.expect),
        "exposed by": reproduce(exposing(entry, system, 0)),
        "safe twin": entry.remedy,
        "directed": "" if entry.directed is None else "a schedule of its own (--verify runs it)",
    }
    for title, text in rows.items():
        if text:
            lines = textwrap.wrap(text, 96)
            click.echo(f"  {title:<11} {lines[0]}")
            for line in lines[1:]:
                click.echo(f"  {'':<11} {line}")


def _verify(system: str, entries: tuple[Entry, ...], seeds: range, cores: int | None, as_json: bool) -> int:
    progress = Progress()
    progress.on = progress.on and not as_json
    try:
        proofs = prove(
            system,
            entries,
            seeds,
            cores=cores,
            observe=lambda done, total: progress.show(f"{done}/{total} runs"),
        )
    finally:
        progress.end()
    if as_json:
        click.echo(msgspec.json.encode(proofs).decode())
    else:
        for proof in proofs:
            _tell(proof)
        caught = sum(_caught(proof) for proof in proofs)
        silent = sum(not proof.alarms for proof in proofs)
        click.echo(f"{caught} of {len(proofs)} caught, {silent} of {len(proofs)} safe twins silent")
    right = all(_caught(proof) and not proof.alarms for proof in proofs)
    return VALID if right else INVALID


def _caught(proof: Proof) -> bool:
    return bool(proof.random.caught or (proof.directed is not None and proof.directed.caught))


def _tell(proof: Proof) -> None:
    seen = [("random", proof.random)] + ([("directed", proof.directed)] if proof.directed else [])
    told = "  ".join(f"{kind} {_seen(one)}" for kind, one in seen if one.runs)
    outcome = "caught" if _caught(proof) else proof.random.outcome
    click.echo(f"{click.style(f'{outcome:<9}', fg=COLOURS[outcome])} {proof.name:<42} {told}")
    for seed, names in proof.alarms.items():
        click.secho(f"          safe twin, seed {seed}: {names}", fg="red")


def _seen(seen: Seen) -> str:
    told = f"{seen.caught}/{seen.runs}"
    if seen.median_operations is not None:
        told += f" (median {seen.median_operations} operations, {seen.median_seconds:g} s)"
    if seen.names:
        told += " " + ", ".join(f"{name} {count}" for name, count in sorted(seen.names.items()))
    return told
