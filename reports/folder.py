"""Reads a run folder for the report: whatever is there, and a sentence for whatever is not.

A run that crashed, was interrupted or has a damaged history gets the same page as any other, so nothing
here raises for a missing or broken file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UserError
from harness.history import History, parse_line, read_history
from harness.node import NodeEvent
from harness.ops import Op

READABLE_VERSION = 1


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run folder's content. `missing` says in sentences what could not be read."""

    name: str
    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    result: dict[str, Any] = msgspec.field(default_factory=dict)
    schedule: dict[str, Any] = msgspec.field(default_factory=dict)
    history: History = msgspec.field(default_factory=lambda: History(()))
    events: tuple[NodeEvent, ...] = ()
    missing: tuple[str, ...] = ()


def read_run(folder: Path) -> Run:
    missing: list[str] = []
    spec = _object(folder / "spec.json", missing, "how it was run is not known")
    result = _object(folder / "result.json", missing, "the run was not judged: `chaos check` does that")
    schedule = _object(folder / "schedule.json", missing, "the planned faults are not known")
    history = _history(folder / "history.jsonl", missing)
    events = _events(folder / "events.jsonl", missing)
    missing += history.warnings
    return Run(
        name=folder.resolve().name,
        spec=spec,
        result=result,
        schedule=schedule,
        history=history,
        events=events,
        missing=tuple(missing),
    )


def _object(path: Path, missing: list[str], consequence: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(path.read_bytes())
    except OSError:
        missing.append(f"{path.name} is missing: {consequence}")
        return {}
    except msgspec.DecodeError as error:
        missing.append(f"{path.name} is damaged ({error}): {consequence}")
        return {}
    if not isinstance(found, dict):
        missing.append(f"{path.name} holds no object: {consequence}")
        return {}
    if found.get("version", READABLE_VERSION) != READABLE_VERSION:
        missing.append(
            f"{path.name} has format version {found['version']}, this report reads {READABLE_VERSION}"
        )
    return found


def _history(path: Path, missing: list[str]) -> History:
    """All of it; of a damaged one the lines that stand before the damage and make sense."""
    try:
        return read_history(path)
    except UserError as error:
        missing.append(f"{error}" if path.exists() else "history.jsonl is missing: there are no operations")
    ops: list[Op] = []
    if path.exists():
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            try:
                op = parse_line(line, number)
            except UserError:
                break
            if ops and (op.index <= ops[-1].index or op.time < ops[-1].time):
                break
            ops.append(op)
        missing.append(f"the page shows the first {len(ops)} events of the history")
    return History(ops)


def _events(path: Path, missing: list[str]) -> tuple[NodeEvent, ...]:
    if not path.exists():
        missing.append("events.jsonl is missing: the state of the cluster is not shown")
        return ()
    decoder = msgspec.json.Decoder(NodeEvent)
    events: list[NodeEvent] = []
    for line in path.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            events.append(decoder.decode(line))
        except msgspec.MsgspecError:
            missing.append(f"events.jsonl is damaged after {len(events)} lines")
            break
    return tuple(events)
