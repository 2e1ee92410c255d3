"""A file that is whole or not there: a disk that fills up, or a program that dies, leaves no half of one."""

from __future__ import annotations

import contextlib
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Writes beside it, under a hidden name, and renames. Raises OSError, and takes away what it had written."""
    new = path.with_name(f".{path.name}")
    try:
        new.write_bytes(data)
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
