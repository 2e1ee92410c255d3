"""The command group: lazy commands, one line for the user's mistakes, exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click

from harness.errors import UserError

VALID, INVALID, BAD_INPUT, UNKNOWN, INTERRUPTED = 0, 1, 2, 3, 130

COMMANDS = {
    "test": "run a workload under faults and judge it",
    "check": "judge a recorded history again",
    "report": "write and open the HTML report of a run",
    "study": "a sweep with a question, and an answer in words",
    "bugs": "the catalogue of real mistakes, and whether they are caught",
    "sweep": "many configurations under many nemeses: which of them lose data",
    "explore": "reach situations that no run has reached yet",
    "ci": "the suite of chaos.toml as a gate: exit code, JUnit, summary, corpus",
    "shrink": "make a failing run small, and write a pytest file of it",
    "replay": "run a recorded test again and compare byte for byte",
    "list": "systems, workloads, nemeses, checkers and backends",
    "doctor": "what this machine can run, and how to mend what it cannot",
    "up": "start a local cluster to play with",
}
"""In the order of `--help`. Command x is `harness.cli.x:command`."""


class LazyGroup(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"harness.cli.{name}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from harness.errors import unknown_name

        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise unknown_name("command", name, COMMANDS)
        return super().resolve_command(context, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Exit codes: see `chaos --help`. A bug of chaos itself is neither `valid` nor `invalid`."""
        arguments = kwargs.get("args")
        debug = "--debug" in (sys.argv if arguments is None else arguments)
        kwargs["standalone_mode"] = False
        try:
            with _terminable():
                code = super().main(*args, **kwargs)
        except UserError as error:
            if debug:
                traceback.print_exc()
            click.echo(f"chaos: {error}", err=True)
            code = BAD_INPUT
        except click.ClickException as error:
            where = getattr(getattr(error, "ctx", None), "command_path", "chaos")
            click.echo(f"chaos: {error.format_message()} (see `{where} --help`)", err=True)
            code = BAD_INPUT
        except (click.Abort, KeyboardInterrupt):
            click.echo("chaos: interrupted", err=True)
            code = INTERRUPTED
        except Exception:
            traceback.print_exc()
            click.echo("chaos: this is a bug of chaos, not a finding: please report it", err=True)
            code = UNKNOWN
        sys.exit(code if isinstance(code, int) else VALID)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM is a Ctrl-C, once: whoever sends it twice wants no harder end than who sends it once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(signum: int, frame: FrameType | None) -> None:
        # Not SIG_IGN, which the programs that are started from here would inherit.
        signal.signal(signal.SIGTERM, lambda signum, frame: None)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 valid (or exactly what was expected), 1 invalid, 2 bad input or environment, "
    "3 unknown, 130 interrupted.",
    invoke_without_command=True,
)
@click.version_option(package_name="chaos-harness", prog_name="chaos")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.pass_context
def chaos(context: click.Context) -> None:
    """Break a distributed system on purpose, record what its clients saw, and prove from that history alone
    whether it kept its promises."""
    if os.environ.get("NO_COLOR"):
        context.color = False
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
