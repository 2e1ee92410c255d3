"""`chaos doctor`: what this machine can run, how to mend what it cannot, and what dead runs left behind on it."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from harness import registry
from harness.cli import options
from harness.cli.group import BAD_INPUT, VALID
from harness.errors import UserError, unknown_name
from harness.leftovers import LeavesBehind, Leftover, on_this_machine


@click.command("doctor")
@click.option("--on", "backend", metavar="BACKEND", help="Only this backend.")
@click.option(
    "--clean", is_flag=True, help="Remove what runs left behind whose harness died, and old images."
)
@click.option("--build-base", is_flag=True, help="Make the base image of backend docker, without a registry.")
@options.as_json
@options.debug
def command(backend: str | None, clean: bool, build_base: bool, as_json: bool) -> int:
    """Check what each backend needs. Exit code 2 when none, or the one asked for, can run.

    A run whose harness was killed may leave containers, networks, volumes, processes, firewall rules and network
    namespaces. All of them carry the run's name; --clean removes those of runs that are over, and images of nodes that
    no container uses, but the newest.
    """
    if clean:
        return _clean(as_json)
    if build_base:
        return _build_base(as_json)
    names = registry.names("backends")
    if backend is not None:
        if backend not in names:
            raise unknown_name("backend", backend, names)
        names = (backend,)
    found = {name: _requirements(name) for name in names}
    usable = [name for name, rows in found.items() if all(met for _, met, _ in rows)]
    if as_json:
        click.echo(
            msgspec.json.encode(
                {n: [{"needs": w, "met": m, "fix": f} for w, m, f in rows] for n, rows in found.items()}
            )
        )
        return VALID if usable else BAD_INPUT
    for name, rows in found.items():
        click.secho(name, bold=True)
        for what, met, fix in rows:
            click.echo(f"  {'ok     ' if met else 'missing'}  {what}" + ("" if met else f": {fix}"))
    click.echo(f"ready: {', '.join(usable) or 'none'}")
    return VALID if usable else BAD_INPUT


def _requirements(name: str) -> list[tuple[str, bool, str]]:
    try:
        rows: list[tuple[str, bool, str]] = registry.load("backends", name).check()
        return rows
    except UserError as error:
        return [("can be loaded", False, str(error))]


def _clean(as_json: bool) -> int:
    """What cannot be removed is told, and the rest removed."""
    removed: list[str] = []
    failed: list[str] = []
    kept: dict[str, int] = {}
    for leftover in _leftovers():
        if leftover.in_use:
            kept[leftover.run] = kept.get(leftover.run, 0) + 1
            continue
        try:
            leftover.remove()
        except (OSError, UserError) as error:
            failed.append(f"{leftover.what}: {error}")
        else:
            removed.append(leftover.what)
    if as_json:
        click.echo(msgspec.json.encode({"removed": removed, "failed": failed, "in_use": kept}))
        return BAD_INPUT if failed else VALID
    for what in removed:
        click.echo(f"removed  {what}")
    for why in failed:
        click.echo(f"failed   {why}", err=True)
    if not removed and not failed:
        click.echo("nothing was left behind")
    for run, count in kept.items():
        click.echo(f"kept     {count} of run {run}, which goes on")
    return BAD_INPUT if failed else VALID


def _leftovers() -> Iterator[Leftover]:
    """Of backends first, and looked for one after the other: a container takes its processes along."""
    for name in registry.names("backends"):
        try:
            backend = registry.load("backends", name)
        except UserError:
            continue
        if isinstance(backend, LeavesBehind):
            yield from backend.leftovers()
    yield from on_this_machine()


def _build_base(as_json: bool) -> int:
    from harness.clusters.docker.base import build_base
    from harness.clusters.docker.engine import connect

    client = connect()
    if not as_json:
        click.echo("making a base image from this machine's Debian mirror: about a minute", err=True)
    name = build_base(client)
    click.echo(msgspec.json.encode({"image": name}) if as_json else f"made {name}")
    return VALID
