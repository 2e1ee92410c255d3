"""Runs a workload against a server in memory, without cluster or clock: slots take turns at random, and a stalled
operation lets the others go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from harness.capabilities import DefiniteFailure
from harness.generators import Context, Generator, Wait
from harness.history import History, HistoryWriter
from harness.settings import resolve
from harness.topology import NodeInfo, Topology
from harness.workload import Client, Completion, Invocation, Test, Workload, fail, info

_yield = asyncio.sleep
CLIENTS = tuple(f"client-{n}" for n in range(8))


class Host:
    async def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await coroutine

    async def kill(self) -> None:
        return None


class Cluster:
    def client_host(self, name: str) -> Host:
        return Host()


class Server(Protocol):
    """`config` is what its settings come to."""

    @property
    def config(self) -> Mapping[str, Any]: ...
    def face(self, capability: str) -> Any: ...


class System:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.capabilities: frozenset[str] = getattr(server, "capabilities", frozenset())

    def client(self, capability: str, cluster: Any, host: str, config: Mapping[str, Any]) -> Any:
        return self.server.face(capability)


class SmallRunner:
    """Virtual milliseconds; an operation takes one, waiting takes what was asked for, a step at a time."""

    def __init__(self, workload: Workload, server: Server, rng: random.Random, **settings: Any) -> None:
        self.now_ms = 0.0
        self.rng = rng
        self.writer = HistoryWriter(None, lambda: int(self.now_ms * 1_000_000))
        self.workload = workload
        given = {name.replace("__", "."): value for name, value in settings.items()}
        config = resolve(workload.settings, given) | dict(server.config)
        nodes = tuple(NodeInfo(f"b{n}", "broker", n, 9092) for n in (1, 2, 3))
        system: Any = System(server)
        cluster: Any = Cluster()
        self.test = Test(
            system=system,
            cluster=cluster,
            topology=Topology(nodes, CLIENTS),
            config=config,
            concurrency=workload.default_concurrency,
            rate=workload.default_rate,
            time_limit_ms=20_000,
            random=rng,
        )
        self.clients: dict[int, Client] = {}
        self.processes = dict(enumerate(range(self.test.concurrency)))

    async def run(self, operations: int) -> History:
        await self.workload.setup(self.test)
        await self.phase(self.workload.generator(self.test), operations)
        final = self.workload.final_generator(self.test)
        assert final is not None
        self.now_ms += 1_000
        await self.phase(final, 5_000)
        return self.writer.history()

    async def phase(self, generator: Generator, operations: int) -> None:
        start, idle, tasks = self.now_ms, set[int](), dict[int, asyncio.Task[None]]()
        for _ in range(operations * 20):
            slot = self.rng.randrange(self.test.concurrency)
            for other, task in list(tasks.items()):
                if task.done():
                    await tasks.pop(other)
            if slot in tasks:
                await asyncio.sleep(0)
                continue
            context = Context(
                slot, self.processes[slot], self.test.concurrency, self.now_ms - start, self.rng
            )
            answer = generator.next(context)
            if answer is None:
                idle.add(slot)
                if len(idle) == self.test.concurrency:
                    break
            elif isinstance(answer, Wait):
                self.now_ms += min(answer.ms, 5.0)
                await asyncio.sleep(0)
            else:
                idle.discard(slot)
                tasks[slot] = asyncio.ensure_future(self.operation(generator, context, answer))
                for _ in range(self.rng.randrange(6)):
                    await asyncio.sleep(0)
            operations -= isinstance(answer, Invocation)
            if operations <= 0:
                break
        for task in tasks.values():
            while not task.done():
                self.now_ms += 5
                await asyncio.sleep(0)
            await task

    async def sleep(self, seconds: float) -> None:
        """What `asyncio.sleep` is to be: others go on until the virtual time has come."""
        until_ms = self.now_ms + seconds * 1_000
        await _yield(0)
        while self.now_ms < until_ms:
            await _yield(0)

    async def operation(self, generator: Generator, context: Context, op: Invocation) -> None:
        process = context.process
        self.writer.append(process, "invoke", op.f, key=op.key, value=op.value, extra=op.extra)
        if context.slot not in self.clients:
            self.clients[context.slot] = self.workload.client(self.test, context.slot, process, "client-0")
            await self.clients[context.slot].open()
        try:
            done = await self.clients[context.slot].invoke(op)
        except DefiniteFailure as error:
            done = fail(str(error))
        except (OSError, RuntimeError) as error:
            done = info(str(error))
        self.now_ms += 1
        self.record(process, op, done)
        if done.retire or done.type == "info":
            del self.clients[context.slot]
            self.processes[context.slot] = process + self.test.concurrency
        generator.completed(context, op, done)

    def record(self, process: int, op: Invocation, done: Completion) -> None:
        kind: Any = done.type
        self.writer.append(
            process, kind, op.f, key=op.key, value=done.value, error=done.error, extra=op.extra | done.extra
        )
