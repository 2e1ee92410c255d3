"""The command line. Commands are imported when they are used: `chaos --help` answers at once."""

from __future__ import annotations

import os
import sys

SIMULATING = frozenset({"test", "replay", "shrink", "sweep", "ci", "bugs", "explore", "study"})


def main() -> None:
    """The console script `chaos`."""
    _pin_hash_seed()
    from harness.cli.group import chaos

    chaos(prog_name="chaos")


def _pin_hash_seed() -> None:
    """Starts the interpreter anew with PYTHONHASHSEED=0 for commands that simulate.

    The order in which a set of strings iterates depends on the hash seed, which is drawn at the start of
    the interpreter and cannot be changed later. Our own code never lets such an order decide anything, but
    third-party code that runs inside a simulation (client libraries) may.
    """
    simulating = any(word in SIMULATING for word in sys.argv[1:3])
    if simulating and os.environ.get("PYTHONHASHSEED") != "0" and "CHAOS_KEEP_HASH_SEED" not in os.environ:
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
