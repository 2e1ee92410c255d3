"""One proxy for all links to a node: whose a connection is, the kernel says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clusters.links import Links
from harness.clusters.links.diallers import dialler
from harness.node import Address

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux says who dialled")

DIALS = """
import socket, sys
end = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
end.settimeout(1)
for line in sys.stdin:
    end.sendall(line.encode())
    try:
        print(end.recv(100).decode().strip() or "closed", flush=True)
    except TimeoutError:
        print("silence", flush=True)
"""


@pytest.fixture
def links() -> Iterator[Links]:
    made = Links()
    yield made
    made.close()


class Dialler:
    """A process with a connection to the port."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", DIALS, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    async def say(self, text: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        return (await asyncio.to_thread(self._process.stdout.readline)).strip()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


def test_only_the_link_of_who_dialled_is_cut(links: Links) -> None:
    asyncio.run(only_the_link_of_who_dialled_is_cut(links))


async def only_the_link_of_who_dialled_is_cut(links: Links) -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    target = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    pids: dict[str, int] = {}
    shared = await links.open_shared("n3", target, lambda near, far: dialler(pids, near, far) or "?")
    diallers = {name: Dialler(shared.port) for name in ("n1", "n2")}
    pids |= {name: each.pid for name, each in diallers.items()}
    try:
        assert [await each.say("one") for each in diallers.values()] == ["one", "one"]
        links.cut("n1", "n3", "drop")
        assert [await each.say("two") for each in diallers.values()] == ["silence", "two"]
        links.heal("n1", "n3")
        assert (await diallers["n1"].say("three")).startswith("two")
    finally:
        for each in diallers.values():
            each.end()
        # Before the loop ends, those who echo must have heard that nobody is there any more.
        await asyncio.sleep(0.2)
        server.close()


def test_a_connection_of_nobody_known() -> None:
    assert dialler({"n1": 1}, 1, 2) is None
