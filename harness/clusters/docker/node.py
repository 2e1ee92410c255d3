"""One node: its sandbox, which stays for the whole run, and the container of its program, which comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness import control
from harness.cluster import Evidence
from harness.clusters.docker.asking import Requests, SandboxError, requests_to
from harness.clusters.docker.attached import Attached, attach
from harness.clusters.docker.engine import explained
from harness.clusters.docker.sandbox import NODE_GROUP
from harness.errors import UserError
from harness.node import Address
from harness.process import NodeFile
from harness.run_id import LABEL, VARIABLE
from harness.topology import NodeInfo

MOUNT = "/chaos/node"
"""Where the node's folder of the run folder is seen by the node: its environment and its events."""
DISK = "/chaos/disk"
PUBLISHED = "127.0.0.1"
NOBODY = 65534
"""Debian's, who is in every image."""
POLL_S = 0.05
ANSWER_S = 30.0
GRACE_S = 3
PAUSE_ATTEMPTS = 10
CPU_PERIOD_US = 100_000
NO_QUOTA = -1
LEAST_MEMORY = 6 << 20
"""The engine takes no lower limit."""


class DockerNode:
    """`address` and `published` are known once the sandbox is open."""

    def __init__(
        self,
        client: Any,
        info: NodeInfo,
        *,
        image: str,
        prefix: str,
        network: str,
        labels: Mapping[str, str],
        folder: Path,
        unprivileged: bool = False,
    ) -> None:
        """`unprivileged`: its program refuses to run as root, or as a user that the image does not know."""
        self.info = info
        self.name = info.name
        self.address = ""
        self.published: dict[str, int] = {}
        """Where this machine reaches its ports, by what they are for; "" is the one that clients speak to."""
        self.clock_ahead_ns = 0
        """The containers' monotonic clock less the harness's: 0 where they share a kernel."""
        self.netem = False
        self.incarnation = -1
        self.paused = False
        self._client = client
        self._image = image
        self._prefix = prefix
        self._network = network
        self._labels = {**labels, "chaos.node": info.name}
        self._environment = {VARIABLE: labels[LABEL]}
        self._folder = folder
        self._user = NOBODY if unprivileged else os.getuid()
        self._sandbox: Any = None
        self._container: Any = None
        self._requests: Requests | None = None
        self._streams: Attached | None = None
        self._standing = control.Standing()
        """What every process of the node is told."""

    @property
    def ports(self) -> dict[str, int]:
        """As the node binds them."""
        return {"": self.info.port, **self.info.ports}

    @property
    def places(self) -> dict[Address, Address]:
        """What clients may know it by -> where this machine reaches it."""
        found: dict[Address, Address] = {}
        for use, port in self.ports.items():
            place = Address(PUBLISHED, self.published[use])
            found |= {place: place, Address(self.address, port): place}
        return found

    @property
    def log(self) -> Path:
        return self._folder / f"{self.name}.log"

    @property
    def place(self) -> Path:
        return self._folder / "nodes" / self.name

    @property
    def events(self) -> Path:
        return self.place / "events.jsonl"

    async def open(self, disk_mb: int) -> None:
        """Network, disk and sandbox are there when it returns. Raises `UserError`."""
        self.place.mkdir(parents=True, exist_ok=True)
        if self._user == NOBODY:
            self.place.chmod(0o777)
        self._sandbox = await asyncio.to_thread(self._create_sandbox, disk_mb)
        self._requests = await requests_to(self._sandbox, self.name)
        with explained(f"start the sandbox of node {self.name}"):
            await asyncio.to_thread(self._sandbox.start)
            await asyncio.to_thread(self._sandbox.reload)
        settings = self._sandbox.attrs["NetworkSettings"]
        self.address = settings["Networks"][self._network]["IPAddress"]
        self.published = {
            use: int(settings["Ports"][f"{port}/tcp"][0]["HostPort"]) for use, port in self.ports.items()
        }
        before = time.monotonic_ns()
        try:
            told = await self.ask("hello")
        except SandboxError as error:
            raise UserError(f"the sandbox of node {self.name} does not work: {error}") from None
        after = time.monotonic_ns()
        self.netem = bool(told["netem"])
        if not before <= told["monotonic_ns"] <= after:
            self.clock_ahead_ns = told["monotonic_ns"] - (before + after) // 2

    def _create_sandbox(self, disk_mb: int) -> Any:
        name = f"{self._prefix}-{self.name}-sandbox"
        with explained(f"create the sandbox of node {self.name}"):
            volume = self._client.volumes.create(
                f"{self._prefix}-{self.name}",
                driver="local",
                driver_opts={"type": "tmpfs", "device": "tmpfs", "o": f"size={disk_mb}m,mode=0777"},
                labels=self._labels,
            )
            return self._client.containers.create(
                self._image,
                ["python3", "-m", "harness.clusters.docker.sandbox"],
                name=name,
                hostname=self.name,
                network=self._network,
                ports={f"{port}/tcp": (PUBLISHED, None) for port in self.ports.values()},
                volumes={
                    volume.name: {"bind": DISK, "mode": "rw"},
                    str(self.place): {"bind": MOUNT, "mode": "rw"},
                },
                labels=self._labels,
                environment=self._environment,
                user="0:0",
                cap_drop=["ALL"],
                cap_add=["NET_ADMIN", "DAC_OVERRIDE", "FOWNER"],
                security_opt=["no-new-privileges"],
                stdin_open=True,
                log_config={"Type": "none"},
            )

    async def create(self, command: list[str]) -> None:
        """The container of the node's program, not started."""
        self._container = await asyncio.to_thread(self._create_container, command)

    def _create_container(self, command: list[str]) -> Any:
        with explained(f"create node {self.name}"):
            return self._client.containers.create(
                self._image,
                command,
                name=f"{self._prefix}-{self.name}",
                network_mode=f"container:{self._sandbox.id}",
                volumes={
                    f"{self._prefix}-{self.name}": {"bind": DISK, "mode": "rw"},
                    str(self.place): {"bind": MOUNT, "mode": "rw"},
                },
                labels=self._labels,
                environment=self._environment,
                user=f"{self._user}:{os.getgid() if self.netem else NODE_GROUP}",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                # A program that is process 1 could not stop itself at a step.
                init=True,
                stdin_open=True,
                log_config={"Type": "none"},
            )

    async def start(self, environment: NodeFile) -> None:
        (self.place / "environment.json").write_bytes(msgspec.json.encode(environment))
        self._streams = await attach(self._container, self._logged)
        with explained(f"start node {self.name}"):
            await asyncio.to_thread(self._container.start)
        for request in self._standing.requests:
            await self._streams.send(control.encode(request))

    async def tell(self, request: control.Request) -> None:
        """Of its program, and of every later one."""
        self._standing.note(request)
        if self.running:
            assert self._streams is not None
            await self._streams.send(control.encode(request))

    async def go_on(self) -> None:
        """Lets a program that stopped itself at a step run again."""
        await asyncio.to_thread(self._container.kill, signal="SIGCONT")

    @property
    def running(self) -> bool:
        return self._streams is not None and not self._streams.ended.done()

    async def ends_within(self, limit_s: float) -> None:
        """Returns when its program has ended, or the time is over."""
        if self.running:
            assert self._streams is not None
            await asyncio.wait([self._streams.ended], timeout=limit_s)

    async def listens(self, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and self.running:
            if await self.ask("listens", host=self.address, port=self.info.port):
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def kill(self) -> int:
        """SIGKILL, also of a paused one; the exit code, of one that had ended before its own."""
        import docker

        try:
            await asyncio.to_thread(self._container.kill)
        except docker.errors.APIError:
            if self.running:
                raise
        told = await asyncio.to_thread(self._container.wait, timeout=ANSWER_S)
        await self._over()
        self.paused = False
        return int(told["StatusCode"])

    async def pause(self) -> str:
        """The state that the engine reports afterwards. On a busy machine the kernel may fail to freeze a container at
        the first attempt."""
        import docker

        for _ in range(PAUSE_ATTEMPTS):
            try:
                await asyncio.to_thread(self._container.pause)
                self.paused = True
                break
            except docker.errors.APIError as error:
                if "unable to freeze" not in str(error):
                    raise
                await asyncio.sleep(POLL_S)
        return str((await self.state())["Status"])

    async def resume(self) -> str:
        """The state that the engine reports afterwards."""
        if self.paused:
            await asyncio.to_thread(self._container.unpause)
            self.paused = False
        return str((await self.state())["Status"])

    async def limit_cpu(self, cores: float | None) -> Evidence:
        quota_us = NO_QUOTA if cores is None else int(cores * CPU_PERIOD_US)
        await asyncio.to_thread(self._container.update, cpu_period=CPU_PERIOD_US, cpu_quota=quota_us)
        await asyncio.to_thread(self._container.reload)
        in_force = self._container.attrs["HostConfig"]["CpuQuota"]
        told = "all processors" if cores is None else f"{cores:g} of a processor"
        return Evidence(in_force == quota_us, f"{self.name} has {told}")

    async def limit_memory(self, more_mb: float | None) -> Evidence:
        """False where the kernel refuses, since the node already has more than that and gives nothing back."""
        if more_mb is None:
            limit = int((await asyncio.to_thread(self._client.info))["MemTotal"])
        else:
            used = await asyncio.to_thread(self._container.stats, stream=False, one_shot=True)
            limit = int(used["memory_stats"].get("usage", 0) + more_mb * 1e6)
            limit = max(limit, LEAST_MEMORY)
        try:
            await asyncio.to_thread(self._container.update, mem_limit=limit, memswap_limit=limit)
        except Exception as error:
            return Evidence(
                False, f"the memory of {self.name} could not be limited to {limit} bytes: {error}"
            )
        return Evidence(True, f"{self.name} may have {limit} bytes of memory")

    async def state(self) -> dict[str, Any]:
        await asyncio.to_thread(self._container.reload)
        state: dict[str, Any] = self._container.attrs["State"]
        return state

    async def describe(self) -> str:
        if self.running:
            return "it runs but does not listen"
        state = await self.state()
        return f"exit code {state['ExitCode']}" + (", out of memory" if state.get("OOMKilled") else "")

    async def stop(self) -> None:
        """Politely: SIGTERM, and SIGKILL after a while."""
        if self.running:
            if self.paused:
                await self.resume()
            await asyncio.to_thread(self._container.stop, timeout=GRACE_S)
            await self._over()

    def close(self) -> None:
        for streams in (self._streams, self._requests):
            if streams is not None:
                streams.close()

    async def _over(self) -> None:
        """Returns when all that the program wrote is in its log."""
        if self._streams is not None:
            await asyncio.wait([self._streams.ended], timeout=GRACE_S)
            self._streams.close()

    def last_lines(self, count: int) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-count:] if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines) or "    (empty)"

    async def ask(self, verb: str, **parameters: Any) -> Any:
        """Of its sandbox. Raises `SandboxError`."""
        assert self._requests is not None
        return await self._requests.ask(verb, **parameters)

    def _logged(self, stream: int, data: bytes) -> None:
        # A full disk of this machine ends the run at its history, which says so.
        with contextlib.suppress(OSError), self.log.open("ab") as log:
            log.write(data)
