"""The run folder: everything about a run as plain files, written as it happens, readable by other tools.

    chaos-runs/<when>-<system>-<workload>-<nemesis>-<seed>/
        spec.json        what was asked for, with every default
        schedule.json    the faults
        history.jsonl    one event a line, as it happened
        events.jsonl     what the nodes said of themselves
        result.json      the verdict
        report.html, clients.log, node logs, trace.jsonl
    chaos-runs/latest    points to the newest

Only the folder's name, `result.json` and the logs depend on the wall clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness import edn
from harness import schedule as schedules
from harness import spec as specs
from harness.errors import UserError
from harness.history import History, HistoryWriter, read_history
from harness.node import NodeEvent
from harness.ops import Op
from harness.schedule import Schedule
from harness.spec import Spec
from harness.whole_file import write_whole

T = TypeVar("T")
DEFAULT_ROOT = Path("chaos-runs")
SPEC, SCHEDULE, HISTORY, EVENTS, RESULT = (
    "spec.json",
    "schedule.json",
    "history.jsonl",
    "events.jsonl",
    "result.json",
)


def pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2) + b"\n"


def create(root: Path, spec: Spec, schedule: Schedule) -> Path:
    """A new run folder with `spec.json` and `schedule.json` in it. Raises `UserError` when it cannot be written."""
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    nemesis = "schedule" if spec.nemesis == "none" and spec.schedule is not None else spec.nemesis
    name = f"{when}-{spec.system}-{spec.workload}-{nemesis}-{spec.seed}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = make_unique(root / name)
        (folder / SPEC).write_bytes(pretty(spec))
        (folder / SCHEDULE).write_bytes(pretty(schedule))
        _point(root / "latest", folder)
    except OSError as error:
        raise _cannot_write(error, root) from None
    return folder


def make_unique(wanted: Path) -> Path:
    """Runs that start in the same second get -2, -3, …: `mkdir` decides, also between processes."""
    number = 1
    while True:
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _point(link: Path, folder: Path) -> None:
    """Replaces the link in one step; a file system without links goes without."""
    new = link.with_name(f".latest-{os.getpid()}")
    try:
        new.unlink(missing_ok=True)
        new.symlink_to(folder.name, target_is_directory=True)
        new.replace(link)
    except OSError:
        new.unlink(missing_ok=True)


def _cannot_write(error: OSError, where: Path) -> UserError:
    return UserError(
        f"cannot write to {where}: {error.strerror}: choose another folder with --out, or free some space"
    )


class RunWriter(HistoryWriter):
    """The history of a run folder: a full disk is the user's to mend, and loses nothing that was written."""

    def __init__(self, folder: Path, now_ns: Callable[[], int]) -> None:
        self._folder = folder
        try:
            super().__init__(folder / HISTORY, now_ns)
        except OSError as error:
            raise _cannot_write(error, folder) from None

    def append(self, *args: Any, **kwargs: Any) -> Op:
        try:
            return super().append(*args, **kwargs)
        except OSError as error:
            raise UserError(
                f"cannot write {self._folder / HISTORY}: {error.strerror}: what was recorded so far is there, "
                f"and `chaos check {self._folder}` judges it"
            ) from None


class EventWriter:
    """`events.jsonl`, a line a call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encoder = msgspec.json.Encoder()
        try:
            self._file = (folder / EVENTS).open("ab", buffering=0)
        except OSError as error:
            raise _cannot_write(error, folder) from None

    def append(self, event: NodeEvent) -> None:
        try:
            self._file.write(self._encoder.encode(event) + b"\n")
        except OSError as error:
            raise _cannot_write(error, self._folder) from None

    def close(self) -> None:
        self._file.close()


def write_result(folder: Path, result: msgspec.Struct) -> None:
    """In one step: a reader sees the whole result or none."""
    try:
        write_whole(folder / RESULT, pretty(result))
    except OSError as error:
        raise _cannot_write(error, folder) from None


def find(run: Path) -> Path:
    """The run folder that a user named (the folder, or a file in it)."""
    if not run.exists():
        raise UserError(f"{run}: no such run: expected a run folder such as chaos-runs/latest")
    folder = run if run.is_dir() else run.parent
    if not (folder / SPEC).exists():
        raise UserError(f"{folder} is no run folder: it has no {SPEC}")
    return folder


def read_spec(folder: Path) -> Spec:
    return _read(folder / SPEC, Spec, specs.FORMAT_VERSION)


def read_schedule(path: Path) -> Schedule:
    """Of a run folder or a file that the user wrote."""
    return _read(path / SCHEDULE if path.is_dir() else path, Schedule, schedules.FORMAT_VERSION)


def read_events(folder: Path) -> list[NodeEvent]:
    """Empty without the file; a torn last line is left out."""
    path = folder / EVENTS
    if not path.exists():
        return []
    events: list[NodeEvent] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            events.append(msgspec.json.decode(line, type=NodeEvent))
        except msgspec.MsgspecError as error:
            raise UserError(f"{path}: line {number}: {error}") from None
    return events


def read_run_history(path: Path) -> History:
    """Of a run folder, or of a bare history file, Jepsen's EDN too."""
    if path.is_file() and edn.is_edn(path):
        return edn.read_history(path)
    return read_history(path / HISTORY if path.is_dir() else path)


def _read(path: Path, type: type[T], version: int) -> T:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    try:
        given = msgspec.json.decode(raw)
        if not isinstance(given, dict):
            raise UserError(f"{path}: not a {type.__name__.lower()} file: expected a JSON object")
        found = given.get("version", version)
        if found != version:
            raise UserError(
                f"{path} has format version {found}, this chaos reads version {version}: "
                + (
                    "upgrade chaos to read it"
                    if _newer(found, version)
                    else "it was written by an older chaos: use that version, or run it anew"
                )
            )
        return msgspec.json.decode(raw, type=type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not a {type.__name__.lower()} file: {error}") from None


def _newer(found: object, version: int) -> bool:
    return not isinstance(found, int) or found > version
