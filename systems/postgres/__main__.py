"""One PostgreSQL server: `python -m systems.postgres --environment FILE` prepares it and becomes it (exec)."""

from __future__ import annotations

import argparse
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from harness.process import NodeFile
from systems.postgres.installation import program

PR_SET_PDEATHSIG = 1
UNPRIVILEGED = ("postgres", "nobody")


def main() -> None:
    parser = argparse.ArgumentParser(description="One PostgreSQL server; started by chaos.")
    parser.add_argument("--environment", required=True, type=Path, help="the file that the backend wrote")
    file = msgspec.json.decode(parser.parse_args().environment.read_bytes(), type=NodeFile)
    data = Path(file.data)
    data.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        _give_up_root(data)
    os.chdir(data)
    if not (data / "PG_VERSION").exists():
        subprocess.run(
            [
                program("initdb"),
                "-D",
                str(data),
                "-U",
                "chaos",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
            ],
            check=True,
        )
    _end_with_the_harness()
    server = program("postgres")
    settings = {
        "listen_addresses": file.listen[0],
        "port": str(file.listen[1]),
        "unix_socket_directories": "",
        "fsync": "on",
        "synchronous_commit": str(file.config["synchronous_commit"]),
        "deadlock_timeout": "100ms",
        "shared_buffers": "32MB",
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    os.execv(server, [server, "-D", str(data), *words])


def _give_up_root(data: Path) -> None:
    """PostgreSQL refuses to run as root; its data must belong to who runs it."""
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = next((known[name] for name in UNPRIVILEGED if name in known), None)
    if user is None:
        sys.exit(
            f"PostgreSQL does not run as root: make a user {UNPRIVILEGED[0]}, or run chaos as another user"
        )
    shutil.chown(data, user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = str(data)
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        sys.exit(
            f"user {user.pw_name} may not enter {data}: give --out a folder that every user may pass through"
        )


def _end_with_the_harness() -> None:
    """A node written for chaos reads the harness's pipe to its end; here the kernel tells instead."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


if __name__ == "__main__":
    main()
