"""What client libraries and nodes log: into the run folder, with the run's own time and the host, instead of
over the terminal. Nodes that are processes of their own have log files of their own."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

NAME = "clients.log"
LIMIT_BYTES = 8 << 20
"""A library that complains of every attempt must not fill the disk."""

HERE: ContextVar[str] = ContextVar("host of whoever logs", default="harness")
"""Set by a backend in the context of each host."""


class ClientLog(logging.Handler):
    """One line a message. `now_ns` is set once the cluster is there; before that, time stands at zero."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        super().__init__(logging.WARNING)
        self._file = path.open("a", encoding="utf-8", errors="replace")
        self._room = limit_bytes
        self._dropped = 0
        self.now_ns: Callable[[], int] = lambda: 0

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: whoever logs is not to blame for a full disk or a message that cannot be formatted."""
        if self._room <= 0:
            self._dropped += 1
            return
        try:
            text = self.format(record)
        except Exception as error:
            text = f"{record.msg!r} cannot be formatted: {error!r}"
        line = f"{self.now_ns() / 1e9:12.6f} {HERE.get():<10} {record.levelname:<7} {record.name}: {text}\n"
        self._room -= len(line)
        self._write(line)

    def close(self) -> None:
        if self._dropped:
            self._write(f"{self._dropped} more messages were left out\n")
        with contextlib.suppress(OSError):
            self._file.close()
        super().close()

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._file.write(line)


@contextlib.contextmanager
def client_log(folder: Path | None) -> Iterator[ClientLog | None]:
    """Takes over the root logger and Python's warnings for the length of a run. Without a folder, messages
    are dropped."""
    root = logging.getLogger()
    handler: logging.Handler = logging.NullHandler() if folder is None else ClientLog(folder / NAME)
    before = root.handlers
    root.handlers = [handler]
    logging.captureWarnings(True)
    try:
        yield handler if isinstance(handler, ClientLog) else None
    finally:
        # Clients that were killed complain when they are collected: now, while somebody writes it down.
        gc.collect()
        logging.captureWarnings(False)
        root.handlers = before
        handler.close()
