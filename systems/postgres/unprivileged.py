"""PostgreSQL refuses to run as root: whose user its programs run as, and whom its files belong to."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

USERS = ("postgres", "nobody")


def command(words: Sequence[str]) -> list[str]:
    """The words themselves for anybody but root, whose rights they give up. The server ends with who started it: a
    change of user makes the kernel forget that it should, so that it is said again."""
    user = _user()
    if user is None:
        return list(words)
    identity = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    return ["setpriv", *identity, "--pdeathsig=QUIT", "--", *words]


def run(words: Sequence[str]) -> None:
    """To its end. Raises `CalledProcessError`."""
    subprocess.run(command(words), check=True)


def folder(place: Path) -> None:
    """Makes it, empty, for the server alone. Ends the process where the server's user could not enter it."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    user = _user()
    if user is None:
        return
    shutil.chown(place, user.pw_uid, user.pw_gid)
    if subprocess.run(command(("test", "-x", str(place))), check=False).returncode:
        sys.exit(
            f"user {user.pw_name} may not enter {place}: give --out a folder that every user may pass through"
        )


def _user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in USERS:
        if name in known:
            return known[name]
    sys.exit(f"PostgreSQL does not run as root: make a user {USERS[0]}, or run chaos as another user")
