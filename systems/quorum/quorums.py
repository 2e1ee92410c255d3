"""Quorums: how many have to answer, of which nodes, and for how long they are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from systems.quorum.errors import Timeout, Unavailable
from systems.quorum.liveness import Liveness
from systems.quorum.membership.service import Moved
from systems.quorum.versions import WrongType

Sets = Sequence[Sequence[str]]
"""Owners, each set of which has to answer or to take a write: two of them while the ring changes."""


class Quorums:
    def __init__(self, liveness: Liveness, *, timeout_s: float) -> None:
        self._liveness = liveness
        self._timeout_s = timeout_s
        self._loose: dict[asyncio.Future[Any], None] = {}

    def enough(self, sets: Sets, need: int) -> None:
        """Raises `Unavailable` where the failure detector says that no quorum can answer."""
        for owners in sets:
            alive = sum(self._liveness.alive(node) for node in owners)
            if alive < need:
                raise Unavailable(f"{alive} of {need} replicas needed are alive")

    async def gather(
        self,
        nodes: Sequence[str],
        ask: Callable[[str], Awaitable[Any]],
        sets: Sets,
        need: int,
        missed: Callable[[str], None] = lambda node: None,
        *,
        holding: Sequence[str] = (),
        standing: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The first answers that are `need` of each set, with those who are `holding` already; the other requests go
        on. `missed` is told of each node that did not answer; `standing`: fallback -> for whom it counts. Raises
        `Timeout`, `Moved`, `WrongType`."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        answers: dict[str, Any] = {}
        counted = list(holding)
        left = len(nodes)

        async def one(node: str) -> None:
            nonlocal left
            try:
                answer = await ask(node)
            except Moved as error:
                if done.done():
                    missed(node)
                else:
                    done.set_exception(error)
            except (OSError, TimeoutError):
                missed(node)
            except WrongType as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    answers[node] = answer
                    counted.append((standing or {}).get(node, node))
            left -= 1
            if not done.done() and (reached(sets, counted, need) or not left):
                done.set_result(None)

        def give_up() -> None:
            if not done.done():
                done.set_result(None)

        for node in nodes:
            self.let_go(one(node))
        if not nodes or reached(sets, counted, need):
            # The outcome of those that go on is nobody's concern.
            done.cancel()
        else:
            timer = loop.call_later(self._timeout_s, give_up)
            try:
                await done
            finally:
                timer.cancel()
        if not reached(sets, counted, need):
            raise Timeout(f"{len(counted)} replicas answered, which is no quorum of {need}")
        return dict(answers)

    def let_go(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._loose[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._loose.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, OSError | TimeoutError | WrongType):
            raise error

    def stop(self) -> None:
        for task in list(self._loose):
            task.cancel()


def reached(sets: Sets, have: Sequence[str], need: int) -> bool:
    """Whether `have` are `need` of each set."""
    return all(sum(node in have for node in owners) >= need for owners in sets)
