"""Ports of nodes, held for as long as a run lasts: two runs at once never get the same.

A node binds its port itself, and again after every restart, so the harness cannot hold the port by binding it. It
holds a lock instead, which the kernel lifts however the harness ends. The ports lie below those that the kernel gives
to outgoing connections, which could take one between two lives of a node.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final

from harness.errors import UserError

HOST: Final = "127.0.0.1"
RANGE: Final = range(15_000, 31_000)


class HeldPorts:
    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"chaos-ports-{os.getuid()}"
        self._folder.mkdir(exist_ok=True)
        self._locks: dict[Path, int] = {}

    def take(self, count: int) -> list[int]:
        """That many free ports. Raises `UserError` where there are none."""
        taken: list[int] = []
        # Not seeded: two runs of the same seed may go on at once.
        for port in random.SystemRandom().sample(RANGE, len(RANGE)):
            if len(taken) == count:
                return taken
            if self._lock(port):
                taken.append(port)
        raise UserError(f"no {count} free ports from {RANGE.start} to {RANGE.stop - 1} on {HOST}")

    def _lock(self, port: int) -> bool:
        place = self._folder / str(port)
        lock = os.open(place, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(lock), place.stat()):
                raise FileNotFoundError("whoever had held it removed it meanwhile")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
        except OSError:
            os.close(lock)
            return False
        self._locks[place] = lock
        return True

    def close(self) -> None:
        locks, self._locks = self._locks, {}
        for place, lock in locks.items():
            place.unlink(missing_ok=True)
            os.close(lock)
