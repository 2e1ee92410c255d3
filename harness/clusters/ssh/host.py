"""One host: its connection, and the agent there that is asked to do things."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness import control
from harness.clusters.ssh.connection import Connection
from harness.clusters.ssh.install import Program, check_programs, install
from harness.clusters.ssh.inventory import Host
from harness.errors import UserError
from harness.process import NodeFile
from harness.run_id import VARIABLE
from harness.system import System
from harness.topology import NodeInfo

ANSWER_S = 30.0
SIGN_OF_LIFE_S = 3.0
CHUNK = 65536


class AgentError(Exception):
    """The agent could not carry out a request, or is gone."""


class SshNode:
    """`monotonic_ahead_ns` is known once it is open."""

    def __init__(self, host: Host, info: NodeInfo, *, run: str, timeout_s: float, log: Path) -> None:
        self.host = host
        self.info = info
        self.name = info.name
        self.log = log
        self.incarnation = -1
        self.ended: str | None = None
        self.paused = False
        self.standing = control.Standing()
        self.monotonic_ahead_ns = 0
        """The host's monotonic clock less the harness's."""
        self.own_address = ""
        """The harness's, as this host sees it."""
        self.python_path = ""
        self.folder = ""
        self.home = ""
        self._connection = Connection(host, timeout_s)
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._channel: Any = None
        self._sending = asyncio.Lock()
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._complaints = b""
        self._gone = asyncio.Event()
        self._alive: asyncio.Task[None] | None = None
        self._heard: Callable[[SshNode, dict[str, Any]], None] = lambda node, told: None

    async def open(
        self, system: System, program: Program, heard: Callable[[SshNode, dict[str, Any]], None]
    ) -> None:
        """The program is there and the agent answers. Raises `UserError`."""
        self._heard = heard
        await asyncio.to_thread(self._install, system, program)
        words = [self.host.python, "-m", "harness.clusters.ssh.agent", self.folder, self._run]
        words.append("sudo" if self.host.sudo else "")
        command = f"PYTHONPATH={shlex.quote(self.python_path)} {VARIABLE}={self._run} exec " + shlex.join(
            words
        )
        self._channel = await asyncio.to_thread(self._connection.start, command)
        threading.Thread(target=self._listen, name=f"ssh {self.name}", daemon=True).start()
        self._alive = asyncio.ensure_future(self._stay_alive())
        before = time.monotonic_ns()
        ports = [self.info.port, *self.info.ports.values()]
        try:
            told = await self.ask("hello", address=self.host.address, ports=ports)
        except AgentError as error:
            raise UserError(f"host {self.host.address}: {error}") from None
        after = time.monotonic_ns()
        if not before <= told["monotonic_ns"] <= after:
            self.monotonic_ahead_ns = told["monotonic_ns"] - (before + after) // 2
        if told["firewall"]:
            raise UserError(f"host {self.host.address}: {told['firewall']}")

    def _install(self, system: System, program: Program) -> None:
        connection = self._connection
        connection.open()
        self.own_address = connection.own_address
        check_programs(connection, system)
        home = connection.run(f"mkdir -p {self.host.folder} && cd {self.host.folder} && pwd").strip()
        connection.run(f"chmod 700 {shlex.quote(home)}")
        self.home = home
        self.python_path = install(connection, program, home)
        self.folder = f"{home}/runs/{self._run}/{self.name}"

    def _listen(self) -> None:
        """In a thread: lines of the agent, until it ends."""
        unread = b""
        while True:
            try:
                data = self._channel.recv(CHUNK)
            except OSError:
                data = b""
            while self._channel.recv_stderr_ready():
                self._complaints = (self._complaints + self._channel.recv_stderr(CHUNK))[-4096:]
            if not data:
                break
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                self._in_loop(self._told, line)
        with contextlib.suppress(OSError):
            self._complaints += self._channel.recv_stderr(CHUNK)
        self._in_loop(self._gone.set)

    def _in_loop(self, call: Callable[..., None], *words: Any) -> None:
        # The run may be over.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *words)

    def _told(self, line: bytes) -> None:
        told = json.loads(line)
        if "id" not in told:
            if "ended" in told:
                self.ended = f"exit code {told['ended']}"
            self._heard(self, told)
            return
        answer = self._answers.get(told["id"])
        if answer is None or answer.done():
            return
        if "error" in told:
            answer.set_exception(AgentError(told["error"]))
        else:
            answer.set_result(told["result"])

    async def ask(self, verb: str, **parameters: Any) -> Any:
        """Raises `AgentError`."""
        number = next(self._numbers)
        answer = self._answers[number] = self._loop.create_future()
        request = json.dumps({"id": number, "verb": verb, **parameters}).encode() + b"\n"
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            async with self._sending:
                await asyncio.to_thread(self._channel.sendall, request)
            limit_s = ANSWER_S + float(parameters.get("limit_s", 0))
            await asyncio.wait([answer, gone], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                last = self._complaints.decode(errors="replace").strip().splitlines()[-1:]
                raise AgentError(f"no answer to {verb} from {self.name}" + "".join(f": {w}" for w in last))
            return answer.result()
        except OSError as error:
            raise AgentError(f"{verb}: the connection to {self.host.address} is gone: {error}") from None
        finally:
            gone.cancel()
            del self._answers[number]

    async def start(self, command: list[str], file: NodeFile) -> None:
        await self.ask(
            "start",
            command=command,
            environment={"PYTHONPATH": self.python_path},
            file=msgspec.json.encode(file).decode(),
            requests=[control.encode(request).decode().strip() for request in self.standing.requests],
        )
        self.ended = None
        self.paused = False
        self.incarnation += 1

    async def request(self, request: control.Request) -> None:
        """Of the present process, and of every later one."""
        self.standing.note(request)
        await self.ask("tell", request=control.encode(request).decode().strip())

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(SIGN_OF_LIFE_S)
            with contextlib.suppress(AgentError):
                await self.ask("still_there")

    @property
    def address(self) -> str:
        return self.host.address

    def hears(self) -> bool:
        """Whether it runs and is not stopped."""
        return self.running and not self.paused

    @property
    def running(self) -> bool:
        return self.incarnation >= 0 and self.ended is None and not self._gone.is_set()

    async def last_lines(self, count: int) -> str:
        lines = await self.ask("last_lines", count=count)
        return "\n".join(f"    {line}" for line in lines) or "    (empty)"

    async def close(self) -> None:
        """Ends the node and the agent, fetches the log, and removes the run's folder from the host."""
        if self._alive is not None:
            self._alive.cancel()
        if self._channel is not None and not self._gone.is_set():
            with contextlib.suppress(AgentError):
                await self.ask("end")
            await asyncio.to_thread(self._channel.shutdown_write)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), ANSWER_S)
        try:
            await asyncio.to_thread(self._fetch_and_remove)
        finally:
            self._connection.close()

    def close_now(self) -> None:
        """The agent hears the end of its input and undoes everything by itself."""
        self._connection.close()

    def _fetch_and_remove(self) -> None:
        if not self.folder:
            return
        with contextlib.suppress(FileNotFoundError):
            self._connection.files.get(f"{self.folder}/node.log", str(self.log))
        runs = f"{self.home}/runs"
        self._connection.run(
            f"rm -rf {shlex.quote(self.folder)}; rmdir {shlex.quote(f'{runs}/{self._run}')} 2>/dev/null || true"
        )
