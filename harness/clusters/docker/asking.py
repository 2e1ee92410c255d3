"""What the harness asks of a node's sandbox, over the standard streams of its container."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec

from harness.clusters.docker.attached import Attached, attach

ANSWER_S = 30.0
KEPT_BYTES = 4096
"""Of what the sandbox complains of."""


class SandboxError(Exception):
    """The sandbox could not carry out a request, or is gone."""


class Requests:
    """Any number may be under way."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._unread = b""
        self._complaints = b""
        self.streams: Attached | None = None

    async def ask(self, verb: str, **parameters: Any) -> Any:
        """Raises `SandboxError`."""
        assert self.streams is not None
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self.streams.send(msgspec.json.encode({"id": number, "verb": verb, **parameters}) + b"\n")
            await asyncio.wait(
                [answer, self.streams.ended], timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not answer.done():
                last = self._complaints.decode(errors="replace").strip().splitlines()[-1:]
                raise SandboxError(
                    f"{self._node}: no answer to {verb}" + "".join(f": {line}" for line in last)
                )
            return answer.result()
        except ConnectionError as error:
            raise SandboxError(f"{verb}: the sandbox of {self._node} is gone: {error}") from None
        finally:
            del self._answers[number]

    def heard(self, stream: int, data: bytes) -> None:
        if stream != 1:
            self._complaints = (self._complaints + data)[-KEPT_BYTES:]
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            told = msgspec.json.decode(line)
            answer = self._answers.get(told["id"])
            if answer is None or answer.done():
                continue
            if "error" in told:
                answer.set_exception(SandboxError(f"{self._node}: {told['error']}"))
            else:
                answer.set_result(told["result"])

    def close(self) -> None:
        if self.streams is not None:
            self.streams.close()


async def requests_to(container: Any, node: str) -> Requests:
    """To be called before the sandbox starts."""
    requests = Requests(node)
    requests.streams = await attach(container, requests.heard)
    return requests
