"""The program of a node's sandbox: it holds the node's network namespace and disk, and breaks them on request.

Requests are JSON lines on standard input, `{"id": 1, "verb": "cut", …}`; answers are lines of the same `id` with
`result` or `error`. It ends when its standard input does: a harness that dies takes it along. It is the only
container of a node that may change a firewall, and that one is the node's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from harness.clusters import netem
from harness.clusters.firewall import Firewall, FirewallError
from harness.clusters.links import Links
from harness.clusters.netem import SOUND, Quality
from harness.clusters.probes import Probes
from harness.kept_disk import JOURNAL, lose_power
from harness.node import Address
from harness.run_id import VARIABLE

DISK = Path("/chaos/disk")
DATA = DISK / "data"
BESIDE = DISK / "beside"
"""What it takes to lose power (`harness.kept_disk`)."""
OUTSIDE = Path("/chaos/node") / JOURNAL
BALLAST = DISK / "ballast"
INTERFACE = "eth0"
NODE_GROUP = 61061
"""The group of a node's programs, by which the firewall tells them from the proxies."""
DIAL_S = 2.0
FILL_ATTEMPTS = 20
REFILL_S = 0.05


class Sandbox:
    def __init__(self) -> None:
        self._firewall = Firewall(os.environ[VARIABLE])
        self._probes = Probes()
        self._filling: asyncio.Task[None] | None = None
        self._quality: dict[str, Quality] = {}
        self._links: Links | None = None

    async def open(self) -> None:
        self._firewall.open()
        await self._probes.listen("0.0.0.0")

    async def on_hello(self) -> dict[str, Any]:
        """`monotonic_ns` is this kernel's clock, with which the node stamps its events; `netem` whether the kernel
        can make links poor."""
        _prepare_disk()
        return {"monotonic_ns": time.monotonic_ns(), "netem": await asyncio.to_thread(netem.available)}

    async def on_listens(self, host: str, port: int) -> bool:
        """From inside: whoever dials from outside reaches the engine's proxy, which always answers."""
        try:
            async with asyncio.timeout(DIAL_S):
                _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        return True

    async def on_cut(self, source: str, how: str) -> None:
        self._firewall.cut(source, how)

    async def on_heal(self, source: str) -> None:
        self._firewall.heal(source)

    async def on_relay(self, node: str, peers: dict[str, tuple[str, list[int]]]) -> None:
        """Where the kernel has no netem: all that the node's programs dial of its peers goes through proxies here,
        which can be slow. They know it by their group."""
        self._links = links = Links()
        for peer, (address, ports) in peers.items():
            for port in ports:
                proxy = await links.open(node, peer, Address(address, port))
                self._firewall.redirect(address, port, proxy.port, group=NODE_GROUP)

    async def on_degrade(self, source: str, target: str, address: str | None, quality: list[float]) -> str:
        """`address` is the target's where the node is the source. By which means; empty where there is none."""
        wanted = Quality(*quality)
        if self._links is not None:
            self._links.degrade(source, target, **wanted._asdict())
            return "proxies, since the kernel has no netem"
        if address is not None:
            self._quality[address] = wanted
            poor = {each: q for each, q in self._quality.items() if q != SOUND}
            complaint = await asyncio.to_thread(netem.apply, INTERFACE, poor)
            if complaint:
                raise OSError(f"tc: {complaint}")
        return "netem"

    async def on_probe(self, target: str, nonce: str) -> None:
        """Sends datagrams that the other end's sandbox will remember."""
        await self._probes.send(target, nonce)

    async def on_seen(self, nonce: str) -> bool:
        return self._probes.seen(nonce)

    async def on_wipe(self) -> int:
        """How many files are left."""
        for entry in DATA.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        shutil.rmtree(BESIDE)
        _prepare_disk()
        return sum(1 for _ in DATA.iterdir())

    async def on_lose_power(self, torn: float | None) -> int:
        """Takes back what the node, which is gone, had not made durable; how many bytes."""
        return lose_power(DATA, BESIDE, torn)

    async def on_fill(self, full: bool) -> bool:
        """Whether the disk takes nothing more."""
        if self._filling is not None:
            self._filling.cancel()
            self._filling = None
        if full:
            await asyncio.to_thread(_fill)
            self._filling = asyncio.ensure_future(_keep_full())
        else:
            BALLAST.unlink(missing_ok=True)
        return _is_full()


def _prepare_disk() -> None:
    """The journal of what is durable is kept elsewhere: it must not end when the disk is full."""
    for folder in (DATA, BESIDE):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    OUTSIDE.unlink(missing_ok=True)
    OUTSIDE.touch(0o666)
    OUTSIDE.chmod(0o666)
    (BESIDE / JOURNAL).symlink_to(OUTSIDE)


def _fill() -> None:
    """Takes what room there is; less of it, where the node took some meanwhile."""
    with BALLAST.open("ab") as ballast:
        for _ in range(FILL_ATTEMPTS):
            room = os.statvfs(DISK)
            size = room.f_bfree * room.f_frsize
            if not size:
                return
            with contextlib.suppress(OSError):
                os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, size)


async def _keep_full() -> None:
    """A node that removes something of its own gains nothing."""
    while True:
        await asyncio.sleep(REFILL_S)
        _fill()


def _is_full() -> bool:
    probe = DISK / "probe"
    try:
        probe.write_bytes(b"?")
    except OSError:
        return True
    finally:
        probe.unlink(missing_ok=True)
    return False


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sandbox = Sandbox()
    await sandbox.open()
    under_way: dict[asyncio.Task[None], None] = {}
    while line := await reader.readline():
        task = loop.create_task(_answer(sandbox, json.loads(line)))
        under_way[task] = None
        task.add_done_callback(lambda t: under_way.pop(t, None))


async def _answer(sandbox: Sandbox, request: dict[str, Any]) -> None:
    number, verb = request.pop("id"), request.pop("verb")
    answer: dict[str, Any] = {"id": number}
    try:
        answer["result"] = await getattr(sandbox, f"on_{verb}")(**request)
    except (FirewallError, OSError) as error:
        answer["error"] = str(error)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        asyncio.run(_serve())
    except FirewallError as refused:
        sys.exit(str(refused))
