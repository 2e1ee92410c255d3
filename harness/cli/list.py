"""`chaos list`: everything that is registered, with one line each."""

from __future__ import annotations

from collections.abc import Mapping

import click
import msgspec

from harness import registry
from harness.cli import options
from harness.errors import UserError
from harness.plan import declared_settings
from harness.profiles import profiles_of
from harness.settings import Setting, Value

GROUPS: tuple[registry.Group, ...] = ("systems", "workloads", "nemeses", "checkers", "backends")
SYSTEM_DETAILS = ("bugs", "situations")


@click.command("list")
@click.argument("what", required=False, type=click.Choice([*GROUPS, "settings", "profiles", *SYSTEM_DETAILS]))
@click.option(
    "--system", default="broker", show_default=True, help="Of which settings, profiles, bugs and situations."
)
@click.option("--workload", default="eos", show_default=True, help="Of which settings.")
@options.as_json
@options.debug
def command(what: str | None, system: str, workload: str, as_json: bool) -> int:
    """Systems, workloads, nemeses, checkers and backends; or settings, profiles, bugs or situations of a system."""
    if what == "settings":
        declared = declared_settings(registry.load("systems", system), registry.load("workloads", workload))
        _print({what: {s.name: _told(s) for s in sorted(declared, key=lambda s: s.name)}}, as_json)
    elif what == "profiles":
        profiles = profiles_of(registry.load("systems", system))
        _print({what: {name: _assigned(chosen) for name, chosen in profiles.items()}}, as_json)
    elif what in SYSTEM_DETAILS:
        _print({what: dict(getattr(registry.load("systems", system), what))}, as_json)
    else:
        _print({g: _described(g) for g in GROUPS if what in (None, g)}, as_json)
    return 0


def _described(group: registry.Group) -> dict[str, str]:
    """One plug-in that cannot be loaded does not hide the others."""
    described: dict[str, str] = {}
    for name in registry.names(group):
        try:
            described[name] = registry.load(group, name).description
        except UserError as error:
            described[name] = f"(not available: {error})"
    return described


def _assigned(settings: Mapping[str, Value]) -> str:
    return " ".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in settings.items())


def _told(setting: Setting) -> str:
    default = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    return f"{setting.doc}  [{setting.scope}; default {default}]"


def _print(tables: dict[str, dict[str, str]], as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(tables))
        return
    for title, rows in tables.items():
        click.secho(title, bold=True)
        width = max((len(name) for name in rows), default=0)
        for name, text in rows.items():
            click.echo(f"  {name:<{width}}  {text}")
