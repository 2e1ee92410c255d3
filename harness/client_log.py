"""What client libraries log: into the run folder, with the run's own time, instead of over the terminal."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

NAME = "clients.log"


class ClientLog(logging.Handler):
    """One line a message. `now_ns` is set once the cluster is there; before that, time stands at zero."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        self._file = path.open("a", encoding="utf-8", errors="replace")
        self.now_ns: Callable[[], int] = lambda: 0

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self._file.write(f"{self.now_ns() / 1e9:12.6f} {record.levelname:<7} {record.name}: {text}\n")

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def client_log(folder: Path | None) -> Iterator[ClientLog | None]:
    """Takes over the root logger for the length of a run. Without a folder, messages are dropped."""
    root = logging.getLogger()
    handler: logging.Handler = logging.NullHandler() if folder is None else ClientLog(folder / NAME)
    before = root.handlers
    root.handlers = [handler]
    try:
        yield handler if isinstance(handler, ClientLog) else None
    finally:
        # Clients that were killed complain when they are collected: now, while somebody writes it down.
        gc.collect()
        root.handlers = before
        handler.close()
