"""A small multi-version store for transactions, one node, of several isolation levels, each true to its name.

    read-uncommitted   writes in place, seen by everybody at once and undone on abort; a key that another transaction
                       has written is refused
    read-committed     each read sees what is committed then; writes are installed together on commit
    repeatable-read    snapshot isolation: reads see a snapshot, the first committer of a key wins
    serializable       the same, and what a writing transaction read must still be current on commit

Commits are durable before they are seen or acknowledged. One JSON request a line, one open transaction a connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from harness.capabilities import DefiniteFailure, MicroOperation, Transaction
from harness.cluster import Cluster
from harness.node import NodeEnvironment, NodeEvent
from harness.settings import Setting
from harness.topology import NodeInfo, Topology

T = TypeVar("T")
LOG = "ledger.log"
LEVELS = ("read-uncommitted", "read-committed", "repeatable-read", "serializable")


class Refused(Exception):
    """The transaction is aborted."""


class Versions:
    """The committed states, one after the other; `changed` is the last version in which a key got its value."""

    def __init__(self, level: str) -> None:
        self.level = level
        self.states: list[dict[str, Any]] = [{}]
        self.changed: dict[str, int] = {}
        self.place: dict[str, Any] = {}
        self.owners: dict[str, Open] = {}

    def install(self, writes: Mapping[str, list[Any]]) -> None:
        state = dict(self.states[-1])
        for key, changes in writes.items():
            state[key] = applied(state.get(key), changes)
            self.changed[key] = len(self.states)
        self.states.append(state)
        self.place.update({key: state[key] for key in writes if key not in self.owners})


def applied(value: Any, changes: Sequence[Any]) -> Any:
    for f, argument in changes:
        value = [*(value or []), argument] if f == "append" else argument
    return value


class Open:
    """One transaction."""

    def __init__(self, versions: Versions) -> None:
        self._all = versions
        self._snapshot = len(versions.states) - 1
        self._read: dict[str, None] = {}
        self.writes: dict[str, list[Any]] = {}

    def do(self, f: str, key: str, argument: Any) -> Any:
        dirty = self._all.level == "read-uncommitted"
        if f == "r":
            self._read[key] = None
            return self._all.place.get(key) if dirty else applied(self._base(key), self.writes.get(key, []))
        if dirty:
            if self._all.owners.setdefault(key, self) is not self:
                raise Refused(f"{key} is being written")
            self._all.place[key] = applied(self._all.place.get(key), [(f, argument)])
        self.writes.setdefault(key, []).append((f, argument))
        return argument

    def _base(self, key: str) -> Any:
        newest = self._all.level == "read-committed"
        return self._all.states[-1 if newest else self._snapshot].get(key)

    def check(self) -> None:
        """Raises `Refused` where the level forbids the commit."""
        guarded = dict.fromkeys(self.writes)
        if self._all.level == "serializable" and self.writes:
            guarded |= self._read
        if self._all.level in ("repeatable-read", "serializable"):
            for key in guarded:
                if self._all.changed.get(key, 0) > self._snapshot:
                    raise Refused(f"{key} was changed meanwhile")

    def end(self, *, undo: bool) -> None:
        for key in self.writes:
            if self._all.owners.get(key) is self:
                del self._all.owners[key]
                if undo:
                    self._all.place[key] = self._all.states[-1].get(key)


async def ledger_node(env: NodeEnvironment) -> None:
    versions = Versions(str(env.config["isolation"]))
    if env.disk.exists(LOG):
        for line in env.disk.read(LOG).splitlines():
            versions.install(json.loads(line))
    # Versions are checked, made durable and installed in one order.
    committing = asyncio.Lock()

    async def commit(transaction: Open) -> None:
        async with committing:
            transaction.check()
            if transaction.writes:
                env.disk.append(LOG, json.dumps(transaction.writes).encode() + b"\n")
                await env.disk.fsync(LOG)
                versions.install(transaction.writes)
            transaction.end(undo=False)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transaction: Open | None = None
        while line := await reader.readline():
            request = json.loads(line)
            answer: Any = None
            try:
                match request:
                    case ["begin"]:
                        transaction = Open(versions)
                    case ["do", f, key, argument] if transaction is not None:
                        answer = transaction.do(f, key, argument)
                    case ["commit"] if transaction is not None:
                        await commit(transaction)
                        transaction = None
                    case _:
                        raise Refused("abort")
                told = {"ok": answer}
            except Refused as error:
                told = {"aborted": str(error)}
                if transaction is not None:
                    transaction.end(undo=True)
                    transaction = None
            writer.write(json.dumps(told).encode() + b"\n")
            await writer.drain()
        if transaction is not None:
            transaction.end(undo=True)
        writer.close()

    server = await asyncio.start_server(serve, env.listen.host, env.listen.port)
    env.emit("serving", incarnation=env.incarnation)
    async with server:
        await server.serve_forever()


class LedgerClient:
    """Capabilities `transactions` and `interactive-transactions`."""

    def __init__(self, cluster: Cluster, host: str) -> None:
        self._address = cluster.address("n1", client=host)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def prepare(self, initial: Mapping[str, Any] | None = None) -> None:
        async def write(transaction: Transaction) -> None:
            for key, value in (initial or {}).items():
                await transaction.write(key, value)

        await self.interact(write)

    async def transact(self, operations: Sequence[MicroOperation]) -> list[MicroOperation]:
        async def all_of_them(transaction: Transaction) -> list[MicroOperation]:
            return [await transaction.do(*operation) for operation in operations]

        return await self.interact(all_of_them)

    async def interact(self, body: Callable[[Transaction], Awaitable[T]], *, read_only: bool = False) -> T:
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._address)
            await self.ask("begin")
            answer = await body(self)
        except DefiniteFailure:
            await self._abort()
            raise
        except OSError as error:
            self._forget()
            raise DefiniteFailure(f"{type(error).__name__}: {error}") from None
        try:
            await self.ask("commit")
        except OSError:
            self._forget()
            raise
        return answer

    async def do(self, f: str, key: str, argument: Any) -> MicroOperation:
        return (f, key, await self.ask("do", f, key, argument))

    async def read(self, key: str) -> Any:
        return await self.ask("do", "r", key, None)

    async def write(self, key: str, value: Any) -> None:
        await self.ask("do", "w", key, value)

    async def ask(self, *request: Any) -> Any:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(json.dumps(request).encode() + b"\n")
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("the node hung up")
        answer = json.loads(line)
        if "aborted" in answer:
            raise DefiniteFailure(answer["aborted"])
        return answer["ok"]

    async def _abort(self) -> None:
        """The server may have aborted itself: it answers the same."""
        try:
            await self.ask("abort")
        except DefiniteFailure:
            return
        except OSError:
            self._forget()

    def _forget(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def close(self) -> None:
        self._forget()


class LedgerView:
    def observe(self, event: NodeEvent) -> None:
        return None

    def select(self, function: str, argument: str) -> tuple[str, ...]:
        return {"leader": ("n1",)}[function]

    def snapshot(self) -> dict[str, Any]:
        return {}


class ToyLedger:
    description = "a multi-version store of several isolation levels (test system)"
    capabilities = frozenset({"transactions", "interactive-transactions"})
    settings: tuple[Setting, ...] = (
        Setting(
            name="isolation", default="serializable", choices=LEVELS, scope="server", doc="what it promises"
        ),
    )
    playground: Mapping[str, Any] = {}
    bugs: Mapping[str, str] = {}
    situations: Mapping[str, str] = {}

    def nodes(self, count: int, config: Mapping[str, Any]) -> tuple[NodeInfo, ...]:
        return (NodeInfo("n1", "ledger", 1, 7101),)

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def program(self) -> Any:
        return ledger_node

    def command(self) -> Sequence[str]:
        return ("-m", "toy_ledger")

    def view(self, topology: Topology) -> LedgerView:
        return LedgerView()

    async def ready(self, cluster: Cluster) -> None:
        host = cluster.client_host(cluster.topology.clients[0])
        address = cluster.address("n1", client=host.name)
        while True:
            try:
                await host.spawn(self._dial(address))
                return
            except OSError:
                await asyncio.sleep(0.02)

    async def recovered(self, cluster: Cluster) -> None:
        await self.ready(cluster)

    @staticmethod
    async def _dial(address: tuple[str, int]) -> None:
        _, writer = await asyncio.open_connection(*address)
        writer.close()

    def client(self, capability: str, cluster: Cluster, host: str, config: Mapping[str, Any]) -> Any:
        return LedgerClient(cluster, host)

    def count_situations(self, events: Sequence[NodeEvent]) -> dict[str, int]:
        return {}

    def promise(self, config: Mapping[str, Any]) -> str:
        return str(config["isolation"])
