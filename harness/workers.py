"""One client slot: asks the generator, performs the operation on its client host, records what became of it.

Processes are numbered as in Jepsen: a slot's first process is the slot's number, each successor stands one
concurrency higher. After an `info` the process never acts again: its host is killed and a new one opens.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from typing import Any

from harness.capabilities import DefiniteFailure, Fenced
from harness.cluster import ClientHost
from harness.errors import UserError
from harness.faults import Problem
from harness.generators import Context, Generator, Wait
from harness.history import HistoryWriter
from harness.workload import Client, Completion, Invocation, Test, Workload, fail, info

OPEN_BACKOFF_MS = (100, 200, 400, 800, 1_000)
LONGEST_NAP_MS = 10_000
CLOSE_TIMEOUT_S = 2.0

BUGS = (
    TypeError,
    AssertionError,
    AttributeError,
    NameError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    ImportError,
    SyntaxError,
)
"""Exceptions that say that a program is wrong, not that a system failed: they make the run `unknown`."""


class Worker:
    """One slot over all phases of a run."""

    def __init__(
        self,
        slot: int,
        *,
        workload: Workload,
        test: Test,
        host: ClientHost,
        writer: HistoryWriter,
        rng: random.Random,
        problem: Problem,
    ) -> None:
        self._slot = slot
        self._workload = workload
        self._test = test
        self._host = host
        self._writer = writer
        self._rng = rng
        self._problem = problem
        self._process = slot
        self._client: Client | None = None
        self._op_timeout_ms = int(test.config["op.timeout.ms"])
        self.busy = False
        """An operation is open; otherwise the worker may be cancelled at any time."""
        self.stopping = False

    async def run(self, generator: Generator, start_ns: int) -> None:
        """Until the generator has nothing more for this slot, or `stopping` is set."""
        failures = 0
        while not self.stopping:
            if self._client is None:
                self._client = await self._open()
                if self._client is None:
                    await asyncio.sleep(OPEN_BACKOFF_MS[min(failures, len(OPEN_BACKOFF_MS) - 1)] / 1000)
                    failures += 1
                    continue
                failures = 0
            answer = generator.next(self._context(start_ns))
            if answer is None:
                return
            if isinstance(answer, Wait):
                await asyncio.sleep(min(max(answer.ms, 0.01), LONGEST_NAP_MS) / 1000)
                continue
            asked = self._context(start_ns)
            completion = await self._perform(self._client, answer)
            told = Context(asked.slot, asked.process, asked.slots, self._now_ms(start_ns), self._rng)
            generator.completed(told, answer, completion)

    def _now_ms(self, start_ns: int) -> float:
        return (self._test.cluster.now_ns() - start_ns) / 1e6

    def _context(self, start_ns: int) -> Context:
        return Context(
            slot=self._slot,
            process=self._process,
            slots=self._test.concurrency,
            now_ms=self._now_ms(start_ns),
            random=self._rng,
        )

    async def _open(self) -> Client | None:
        """A client that cannot connect is no operation: None, after its host was cleared for the next try."""
        client = self._workload.client(self._test, self._slot, self._process, self._host.name)
        try:
            error = await self._wait(self._host.spawn(client.open()), self._op_timeout_ms)
        except asyncio.CancelledError:
            await self._host.kill()
            raise
        if error is None:
            return client
        if isinstance(error, BUGS):
            self._report(error, "open")
        await self._host.kill()
        return None

    async def _perform(self, client: Client, op: Invocation) -> Completion:
        self.busy = True
        try:
            self._writer.append(
                self._process, "invoke", op.f, key=op.key, value=op.value, extra=op.extra or None
            )
            future = self._host.spawn(client.invoke(op))
            try:
                error = await self._wait(future, op.timeout_ms or self._op_timeout_ms)
            except asyncio.CancelledError:
                # The phase would wait no longer; a process with an open operation must not act again.
                self._writer.append(self._process, "info", op.f, key=op.key, error="phase ended")
                await self._retire()
                raise
            completion = self._completion(future, error, op)
            self._writer.append(
                self._process,
                completion.type,  # type: ignore[arg-type]
                op.f,
                key=op.key,
                value=completion.value,
                error=completion.error,
                extra={**op.extra, **completion.extra} or None,
            )
            if completion.type == "info" or completion.retire:
                await self._retire()
            return completion
        finally:
            self.busy = False

    def _completion(
        self, future: asyncio.Future[Any], error: BaseException | None, op: Invocation
    ) -> Completion:
        if error is None:
            completion = future.result()
            if isinstance(completion, Completion) and completion.type in ("ok", "fail", "info"):
                return completion
            error = TypeError(f"invoke({op.f}) returned {completion!r}, expected a Completion")
        if isinstance(error, DefiniteFailure):
            return fail(str(error) or "definite failure")
        if isinstance(error, BUGS):
            self._report(error, op.f)
        if isinstance(error, _TimedOut):
            return info("timeout")
        kind = "fenced" if isinstance(error, Fenced) else type(error).__name__
        return info(f"{kind}: {error}" if str(error) else kind)

    async def _wait(self, future: asyncio.Future[Any], timeout_ms: float) -> BaseException | None:
        """What the future raised, if anything. It is not cancelled at the time-out: the host's death does that."""
        try:
            await asyncio.wait([future], timeout=timeout_ms / 1000)
        except asyncio.CancelledError:
            future.add_done_callback(_retrieve)
            raise
        if not future.done():
            future.add_done_callback(_retrieve)
            return _TimedOut()
        if future.cancelled():
            return ConnectionAbortedError("cancelled")
        return future.exception()

    async def _retire(self) -> None:
        self._client = None
        self._process += self._test.concurrency
        await self._host.kill()

    async def close(self) -> None:
        """Says goodbye where that works; never fails."""
        client, self._client = self._client, None
        if client is not None:
            error = await self._wait(self._host.spawn(client.close()), CLOSE_TIMEOUT_S * 1000)
            if isinstance(error, BUGS):
                self._report(error, "close")
        await self._host.kill()

    def _report(self, error: BaseException, f: str) -> None:
        if isinstance(error, UserError):
            raise error
        self._problem(
            f"client of process {self._process}: {type(error).__name__} in {f}: {error}",
            "".join(traceback.format_exception(error)),
        )


class _TimedOut(Exception):
    pass


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
