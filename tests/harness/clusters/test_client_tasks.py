"""Client hosts in the harness's own process: killing one ends what it began, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest

from harness.clusters.client_tasks import ClientLoop, TaskHost


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=ClientLoop) as runner:
        runner.run(main)


def test_spawn_hands_over_results_and_errors() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> int:
        raise OSError("no")

    async def main() -> None:
        host = TaskHost("client-0")
        assert await host.spawn(answer()) == 42
        with pytest.raises(OSError, match="no"):
            await host.spawn(fail())

    run(main())


def test_killing_a_host_ends_its_background_tasks_and_connections_only() -> None:
    async def main() -> None:
        gone: list[str] = []
        beats: dict[str, int] = {}

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            name = (await reader.readline()).decode().strip()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            gone.append(name)
            writer.close()

        async def beat(name: str) -> None:
            while True:
                beats[name] = beats.get(name, 0) + 1
                await asyncio.sleep(0.005)

        async def client(name: str) -> None:
            beating = asyncio.create_task(beat(name))
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{name}\n".encode())
            await beating

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        victim, survivor = TaskHost("client-0"), TaskHost("client-1")
        dying, living = victim.spawn(client("victim")), survivor.spawn(client("survivor"))
        await asyncio.sleep(0.05)
        await victim.kill()
        with pytest.raises(ConnectionAbortedError, match="client-0 was killed"):
            await dying
        await asyncio.sleep(0.02)
        stopped_at = dict(beats)
        await asyncio.sleep(0.05)
        assert beats["victim"] == stopped_at["victim"]
        assert beats["survivor"] > stopped_at["survivor"]
        assert gone == ["victim"]
        assert not living.done()
        await survivor.kill()
        server.close()

    run(main())
