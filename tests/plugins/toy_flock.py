"""The toy bag with followers that come and go: what a test of changes of the cluster needs.

`n1` leads. It tells every follower of every number before it acknowledges it; `join NODE` gives a new one all that
there is, `leave NODE` forgets one. A follower that cannot be reached is left behind: nobody reads from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from toy_bag import ToyBag

from harness.cluster import Cluster, Evidence
from harness.node import NodeEnvironment
from harness.system import Change
from harness.topology import Topology

LOG, FOLLOWERS = "bag.log", "followers"
LEADER = "n1"


async def flock_node(env: NodeEnvironment) -> None:
    disk = env.disk
    followers: list[str] = disk.read(FOLLOWERS).decode().split() if disk.exists(FOLLOWERS) else []
    if env.founder and not disk.exists(FOLLOWERS):
        followers = [node.name for node in env.topology.founders if node.name != LEADER]

    async def keep(numbers: Sequence[str]) -> None:
        disk.append(LOG, "".join(f"{n}\n" for n in numbers).encode())
        await disk.fsync(LOG)

    async def tell(node: str, numbers: Sequence[str]) -> None:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(*env.peer(node))
            writer.write(f"take {' '.join(numbers)}\n".encode())
            await reader.readline()
            writer.close()

    def held() -> list[str]:
        return disk.read(LOG).decode().split() if disk.exists(LOG) else []

    async def change(verb: str, node: str) -> str:
        if node == LEADER:
            return "no: the leader stays"
        if verb == "join":
            await tell(node, held())
            followers.append(node)
        else:
            followers.remove(node)
        disk.write(FOLLOWERS, " ".join(followers).encode())
        await disk.fsync(FOLLOWERS)
        env.emit("flock", followers=sorted(followers))
        return "ok"

    async def answer(verb: str, words: list[str]) -> str:
        match verb:
            case "add":
                await keep(words)
                await asyncio.gather(*(tell(f, words) for f in followers), return_exceptions=True)
                return "ok"
            case "take":
                await keep(words)
                return "ok"
            case "join" | "leave":
                return await change(verb, words[0])
        return " ".join(held())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            verb, *words = line.decode().split()
            writer.write(f"{await answer(verb, words)}\n".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, env.listen.host, env.listen.port)
    env.emit("serving", incarnation=env.incarnation, leader=env.name == LEADER)
    async with server:
        await server.serve_forever()


class ToyFlock(ToyBag):
    description = "a leader with a bag of numbers, and followers that come and go (test system)"
    message_kinds = frozenset({"take"})

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def program(self) -> Any:
        return flock_node

    async def _all_serving(self, cluster: Cluster) -> None:
        while not all(cluster.running(node) for node in cluster.members):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def administer(
        self, cluster: Cluster, change: Change, node: str, *, replaced: str | None = None
    ) -> Evidence:
        answers = []
        if replaced is not None:
            answers.append(await self._ask(cluster, f"leave {replaced}"))
        answers.append(await self._ask(cluster, f"{'join' if change == 'replace' else change} {node}"))
        return Evidence(all(a == "ok" for a in answers), "; ".join(answers))

    async def _ask(self, cluster: Cluster, request: str) -> str:
        host = cluster.client_host("admin")

        async def asked() -> str:
            reader, writer = await asyncio.open_connection(*cluster.address(LEADER, client="admin"))
            writer.write(f"{request}\n".encode())
            answer = (await reader.readline()).decode().strip()
            writer.close()
            return answer

        return await host.spawn(asked())
