"""Failures of the past, shrunk: every run of the gate replays them first.

One JSON file each: the anomaly, the test it came from, and the specification with its schedule.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from harness import store
from harness.errors import UserError
from harness.plan import resolve
from harness.spec import Spec

FORMAT_VERSION = 1


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    anomaly: str
    test: str
    summary: str
    spec: Spec
    version: int = FORMAT_VERSION


def read(folder: Path) -> list[tuple[str, Entry]]:
    """File name and entry, sorted. Raises `UserError` for one that cannot be used as it is."""
    found: list[tuple[str, Entry]] = []
    for path in sorted(folder.glob("*.json")) if folder.exists() else ():
        try:
            raw = path.read_bytes()
            given = msgspec.json.decode(raw)
            version = given.get("version") if isinstance(given, dict) else None
            if version != FORMAT_VERSION:
                raise UserError(
                    f"format version {version}, this chaos reads {FORMAT_VERSION}: delete it, or record it again "
                    "with `chaos ci --record`"
                )
            entry = msgspec.json.decode(raw, type=Entry)
            resolve(entry.spec)
        except OSError as error:
            raise UserError(f"corpus entry {path}: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            raise UserError(f"corpus entry {path}: not one of ours: {error}") from None
        except UserError as error:
            raise UserError(f"corpus entry {path}: {error}") from None
        found.append((path.name, entry))
    return found


def record(folder: Path, entry: Entry) -> Path:
    """Adds it, under a name that says what it is and that the same failure gets again."""
    stem = re.sub(r"\W+", "-", f"{entry.anomaly}-{entry.spec.workload}").strip("-").lower()
    digest = hashlib.blake2b(msgspec.json.encode(entry.spec), digest_size=4).hexdigest()
    path = folder / f"{stem}-{digest}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.pretty(entry))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from None
    return path
