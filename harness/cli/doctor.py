"""`chaos doctor`: what this machine can run, and how to mend what it cannot."""

from __future__ import annotations

import click
import msgspec

from harness import registry
from harness.cli import options
from harness.cli.group import BAD_INPUT, VALID
from harness.errors import UserError


@click.command("doctor")
@options.as_json
@options.debug
def command(as_json: bool) -> int:
    """Check what each backend needs. Exit code 2 when no backend can run."""
    found = {name: _requirements(name) for name in registry.names("backends")}
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
