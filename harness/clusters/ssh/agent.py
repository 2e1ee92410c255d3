"""The program on a node's host that does what the harness asks: `python3 -m harness.clusters.ssh.agent FOLDER RUN`.

Requests are JSON lines on standard input, `{"id": 1, "verb": "cut", …}`; answers are lines of the same `id` with
`result` or `error`; lines with `event` carry what the node said of itself. When the input ends, or nothing is heard
for a while, the harness is gone: everything is undone, and the node ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness.clusters.firewall import Firewall, FirewallError
from harness.clusters.links import Links
from harness.clusters.probes import Probes
from harness.clusters.process_tree import kernel_state, signal_tree
from harness.clusters.ssh.host_clock import HostClock
from harness.clusters.ssh.queues import Queues
from harness.kept_disk import lose_power
from harness.node import Address
from harness.run_id import VARIABLE

DATA, BESIDE = "data", "beside"
"""In the node's folder: its disk, and what it takes to lose power."""

DIAL_S = 2.0
POLL_S = 0.05
CLOCK_STEP_S = 0.25
"""So often a clock that drifts is set."""
SILENCE_S = 20.0
"""The harness asks for something every few seconds."""
TERMINATE_S = 3.0
SUDO = ("sudo", "-n")


class Refused(Exception):
    """A request that could not be carried out; its text goes back."""


class Agent:
    def __init__(self, folder: Path, run: str, *, sudo: bool) -> None:
        self._folder = folder
        self._run = run
        root = SUDO if sudo and os.geteuid() != 0 else ()
        self._firewall = Firewall(run, root=root)
        self._queues = Queues(folder, root=root)
        self._clock = HostClock(folder, root=root)
        self._links: Links | None = None
        self._probes = Probes()
        self._node: subprocess.Popen[bytes] | None = None
        self._read = 0
        self._told_end = True

    @property
    def _data(self) -> Path:
        return self._folder / DATA

    @property
    def _events(self) -> Path:
        return self._folder / "events.jsonl"

    @property
    def _log(self) -> Path:
        return self._folder / "node.log"

    @property
    def _pid_file(self) -> Path:
        return self._folder / "node.pid"

    async def on_hello(self, address: str, ports: list[int]) -> dict[str, Any]:
        """`monotonic_ns` is this kernel's clock: the node stamps its events with it."""
        for port in ports:
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    one.bind((address, port))
                except OSError as error:
                    raise Refused(f"port {port} cannot be had: {error.strerror}") from None
        await self._probes.listen(address)
        firewall = ""
        try:
            self._firewall.open()
        except FirewallError as error:
            firewall = str(error)
        return {"monotonic_ns": time.monotonic_ns(), "firewall": firewall}

    async def on_still_there(self) -> None:
        """Nothing but a sign of life."""

    async def on_start(
        self, command: list[str], environment: dict[str, str], file: str, requests: list[str]
    ) -> int:
        """`requests` are what is in force for every process of the node (`harness.control`)."""
        (self._folder / "environment.json").write_text(file)
        self._node = self._launch(command, environment)
        assert self._node.stdin is not None
        # A node that does not read holds nobody up.
        os.set_blocking(self._node.stdin.fileno(), False)
        for request in requests:
            await self.on_tell(request)
        self._pid_file.write_text(f"{self._node.pid}\n")
        self._told_end = False
        return self._node.pid

    def _launch(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **environment, VARIABLE: self._run},
            )

    async def on_listens(self, host: str, port: int, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and self._node is not None and self._node.poll() is None:
            try:
                async with asyncio.timeout(DIAL_S):
                    _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(POLL_S)
                continue
            writer.close()
            return True
        return False

    async def on_tell(self, request: str) -> None:
        """It may be gone: the next process hears it."""
        if self._node is not None and self._node.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                os.write(self._node.stdin.fileno(), request.encode() + b"\n")

    async def on_state(self) -> str:
        code = None if self._node is None else self._node.poll()
        return "it runs but does not listen" if code is None else f"exit code {code}"

    async def on_kill(self) -> int:
        """SIGKILL, also of a stopped one; the exit code."""
        node = self._running()
        self._told_end = True
        signal_tree(node.pid, signal.SIGKILL)
        code = await asyncio.to_thread(node.wait)
        self._pid_file.unlink(missing_ok=True)
        return code

    async def on_pause(self, paused: bool) -> bool | None:
        """Whether the kernel says that it is stopped."""
        node = self._running()
        signal_tree(node.pid, signal.SIGSTOP if paused else signal.SIGCONT)
        state = None
        for _ in range(20):
            state = kernel_state(node.pid)
            if state is None or (state == "T") is paused:
                break
            await asyncio.sleep(0.01)
        return None if state is None else state == "T"

    async def on_end(self) -> None:
        """Politely first."""
        self._told_end = True
        node = self._node
        if node is None or node.poll() is not None:
            return
        signal_tree(node.pid, signal.SIGCONT)
        node.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(node.wait, TERMINATE_S)
        self.kill_now()

    async def on_lose_power(self, part: float | None) -> int:
        """How many bytes were not on its disk."""
        return await asyncio.to_thread(lose_power, self._data, self._folder / BESIDE, part)

    async def on_wipe(self) -> int:
        """How many files are left."""
        data = self._data
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(self._folder / BESIDE, ignore_errors=True)
        return sum(1 for _ in data.rglob("*")) if data.exists() else 0

    async def on_cut(self, source: str, how: str) -> None:
        self._firewall.cut(source, how)

    async def on_heal(self, source: str) -> None:
        self._firewall.heal(source)

    async def on_set_clock(self, offset_ms: float, rate: float) -> float:
        """The host's own, which must be disposable; by how many milliseconds it is ahead then."""
        return self._clock.move(offset_ms, rate)

    async def on_queues(self, peers: list[str]) -> str:
        """Why this kernel cannot make the links to these hosts poor; empty where it can."""
        return await asyncio.to_thread(self._queues.open, peers)

    async def on_slow(self, peer: str, quality: dict[str, float]) -> None:
        """By the kernel."""
        self._queues.degrade(peer, quality)

    async def on_relay(self, source: str, places: list[tuple[str, str, int]]) -> list[tuple[str, int]]:
        """Opens a proxy of a link for each (node, host, port); where they listen. What the node dials goes through
        them, so that a link can be poor where the kernel cannot make it so."""
        if self._links is None:
            self._links = Links()
        return [await self._links.open(source, target, Address(host, port)) for target, host, port in places]

    async def on_degrade(self, source: str, target: str, quality: dict[str, float]) -> None:
        if self._links is not None:
            self._links.degrade(source, target, **quality)

    async def on_probe(self, target: str, nonce: str) -> None:
        """Sends datagrams that the other end's agent will remember."""
        await self._probes.send(target, nonce)

    async def on_seen(self, nonce: str) -> bool:
        return self._probes.seen(nonce)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._node is None or self._node.poll() is not None:
            raise Refused("the node does not run")
        return self._node

    def kill_now(self) -> None:
        if self._node is not None and self._node.poll() is None:
            signal_tree(self._node.pid, signal.SIGKILL)
            self._node.wait()
        self._pid_file.unlink(missing_ok=True)

    def undo(self) -> None:
        """However it ends."""
        with contextlib.ExitStack() as stack:
            if self._links is not None:
                stack.callback(self._links.close)
            stack.callback(self.kill_now)
            stack.callback(self._queues.close)
            stack.callback(self._clock.restore)
            stack.callback(self._firewall.heal_all)

    def keep_clock_drifting(self) -> None:
        # One step that fails leaves it where it was; the fault has said whether it can be set.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if self._clock.drifts:
                self._clock.step()

    def news(self) -> list[dict[str, Any]]:
        """What the node has told since the last call, and that it ended, if nobody asked for that."""
        # Asked before the file is read, so that its last words are not missed.
        code = self._node.poll() if self._node is not None else None
        lines: list[bytes] = []
        if self._events.exists():
            with self._events.open("rb") as file:
                file.seek(self._read)
                lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
        self._read += sum(len(line) for line in lines)
        news: list[dict[str, Any]] = [{"event": line.decode()} for line in lines]
        if code is not None and not self._told_end:
            self._told_end = True
            news.append({"ended": code, "said": self.last_lines(1)})
        return news

    async def on_last_lines(self, count: int) -> list[str]:
        return self.last_lines(count).splitlines()

    def last_lines(self, count: int) -> str:
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-count:])


async def _serve(agent: Agent) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asyncio.current_task().cancel)  # type: ignore[union-attr]
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    at_work = [asyncio.ensure_future(_tell_news(agent)), asyncio.ensure_future(_keep_clock(agent))]
    under_way: dict[asyncio.Task[None], None] = {}
    try:
        while True:
            async with asyncio.timeout(SILENCE_S):
                line = await reader.readline()
            if not line:
                return
            task = loop.create_task(_answer(agent, json.loads(line)))
            under_way[task] = None
            task.add_done_callback(lambda t: under_way.pop(t, None))
    finally:
        for each in at_work:
            each.cancel()


async def _keep_clock(agent: Agent) -> None:
    while True:
        await asyncio.sleep(CLOCK_STEP_S)
        agent.keep_clock_drifting()


async def _tell_news(agent: Agent) -> None:
    while True:
        await asyncio.sleep(POLL_S)
        for each in agent.news():
            _say(each)


async def _answer(agent: Agent, request: dict[str, Any]) -> None:
    number, verb = request.pop("id"), request.pop("verb")
    answer: dict[str, Any] = {"id": number}
    try:
        answer["result"] = await getattr(agent, f"on_{verb}")(**request)
    except (Refused, FirewallError, OSError, subprocess.TimeoutExpired) as error:
        answer["error"] = str(error)
    _say(answer)


def _say(told: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def main(folder: str, run: str, sudo: str) -> None:
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    agent = Agent(place, run, sudo=sudo == "sudo")
    try:
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            asyncio.run(_serve(agent))
    finally:
        agent.undo()


if __name__ == "__main__":
    main(*sys.argv[1:])
