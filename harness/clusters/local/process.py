"""One node as a process: its folder, its log, its lives, and what the harness asks of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness import control
from harness.clusters.process_tree import kernel_state, signal_tree
from harness.end_with_parent import end_with_parent
from harness.node import Address
from harness.process import NodeFile
from harness.run_id import VARIABLE

POLL_S = 0.05


class LocalNode:
    """`folder` is the node's own; its log lies beside the run's other files."""

    def __init__(self, name: str, folder: Path, log: Path, run: str) -> None:
        self.name = name
        self.folder = folder
        self.data = folder / "data"
        self.beside = folder / "beside"
        self.events = folder / "events.jsonl"
        self.log = log
        self.incarnation = -1
        self.standing = control.Standing()
        self.ended_by_us = False
        self._run = run
        self._process: subprocess.Popen[bytes] | None = None
        self._missed = False
        self.paused = False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def hears(self) -> bool:
        """It runs, and is not paused."""
        return self.running and not self.paused

    @property
    def died_by_itself(self) -> bool:
        return self._process is not None and not self.ended_by_us and self._process.poll() is not None

    def spawn(self, command: Sequence[str], environment: NodeFile) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "environment.json"
        path.write_bytes(msgspec.json.encode(environment))
        self.ended_by_us = self.paused = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, "--environment", str(path)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A session of its own: a Ctrl-C reaches the harness only.
                start_new_session=True,
                preexec_fn=end_with_parent,
                env={**os.environ, VARIABLE: self._run},
                bufsize=0,
            )
        assert self._process.stdin is not None
        # A paused node does not read: whoever strobes its clock must not come to stand behind it.
        os.set_blocking(self._process.stdin.fileno(), False)
        self._tell_all()

    async def _catch_up(self) -> None:
        """Says again what did not fit into its standard input while it did not read."""
        while self._missed and self.running:
            self._missed = False
            self._tell_all()
            await asyncio.sleep(POLL_S)

    def _tell_all(self) -> None:
        for request in self.standing.requests:
            self._tell(request)

    async def listens(self, address: Address, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and self.running:
            try:
                _, writer = await asyncio.open_connection(*address)
            except OSError:
                await asyncio.sleep(POLL_S)
                continue
            writer.close()
            return True
        return False

    def ask(self, request: control.Request) -> None:
        """Of the present process, and what is a state of every later one."""
        self.standing.note(request)
        self._tell(request)

    async def request(self, request: control.Request) -> None:
        """The same, as one asks a node that is further away."""
        self.ask(request)

    def _tell(self, request: control.Request) -> None:
        if self._process is not None and self._process.stdin is not None:
            # It may be gone: the next process hears it.
            with contextlib.suppress(OSError, ValueError):
                if self._process.stdin.write(control.encode(request)) is None:
                    self._missed = True

    # ── its end ──────────────────────────────────────────────────────────────────────────────────────

    async def kill(self) -> int | None:
        """SIGKILL, also of a stopped one; the exit code, None where there is no process."""
        if self._process is None:
            return None
        self.ended_by_us = True
        signal_tree(self._process.pid, signal.SIGKILL)
        # Whoever crashes a node at a step takes the first pause as the end of what cannot wait.
        await asyncio.sleep(0)
        return await asyncio.to_thread(self._process.wait)

    async def stopped(self, wanted: bool) -> tuple[bool | None, str]:
        """Pauses or resumes it and asks the kernel, which takes a moment; None where it cannot be asked."""
        self.paused = wanted
        signal_tree(self.pid, signal.SIGSTOP if wanted else signal.SIGCONT)
        if not wanted:
            await self._catch_up()
        state = None
        for _ in range(20):
            state = kernel_state(self.pid)
            if state is None:
                return None, "no /proc to ask"
            if (state == "T") is wanted:
                break
            await asyncio.sleep(0.01)
        return (state == "T") is wanted, f"{self.name} is in state {state}"

    def terminate(self) -> subprocess.Popen[bytes] | None:
        """Politely; the process, for whoever waits for its end."""
        if self._process is None or self._process.poll() is not None:
            return None
        self.ended_by_us = True
        signal_tree(self._process.pid, signal.SIGCONT)
        self._process.terminate()
        return self._process

    def end(self) -> None:
        """However the run ends."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.ended_by_us = True
            signal_tree(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    # ── what there is to say of it ───────────────────────────────────────────────────────────────────

    def describe(self) -> str:
        code = None if self._process is None else self._process.poll()
        return "it runs but does not listen" if code is None else f"exit code {code}"

    def last_lines(self, count: int) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-count:]) or "    (empty)"
