"""Where this machine keeps PostgreSQL's programs; Debian has the server's outside of PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import UserError

DEBIAN = Path("/usr/lib/postgresql")


def program(name: str) -> str:
    """The newest installed version's. Raises `UserError` where there is none."""
    versions = sorted((p for p in DEBIAN.glob("*/bin") if (p / name).exists()), key=_version)
    if versions:
        return str(versions[-1] / name)
    found = shutil.which(name)
    if found is None:
        raise UserError(f"PostgreSQL's {name} is not installed: apt-get install postgresql")
    return found


def _version(folder: Path) -> float:
    return float(folder.parent.name)
