"""What nodes that are processes of their own say of themselves: lines that each appends to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from harness.node import NodeEvent


class EventFiles:
    """The files of some nodes, read as they grow. What is in them already is no news."""

    def __init__(self, files: Mapping[str, Path], *, ahead_ns: Mapping[str, int] | None = None) -> None:
        """`ahead_ns` is by how much a node's clock for events is ahead of the run's."""
        self._files = dict(files)
        self._ahead_ns = ahead_ns or {}
        self._read = {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}

    def fresh(self) -> list[NodeEvent]:
        """The whole lines since the last call, of all nodes, by time."""
        found: list[NodeEvent] = []
        for name, path in self._files.items():
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._read[name])
                lines = file.read().splitlines(keepends=True)
            for line in lines:
                if line.endswith(b"\n"):
                    self._read[name] += len(line)
                    event = msgspec.json.decode(line, type=NodeEvent)
                    ahead_ns = self._ahead_ns.get(name, 0)
                    found.append(
                        msgspec.structs.replace(event, time=event.time - ahead_ns) if ahead_ns else event
                    )
        return sorted(found, key=lambda event: event.time)
