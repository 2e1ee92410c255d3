"""etcd's v3 API as JSON over HTTP (the gRPC gateway of every member); keys and values go as base64."""

from __future__ import annotations

import base64
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from harness.capabilities import DefiniteFailure
from harness.node import Address

REFUSED = ("etcdserver: too many requests",)
"""Answers of a member that did nothing. `no leader`, `request timed out` and `leader changed` may come after it has
proposed the write."""


class Gateway:
    """One member."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        # No environment: a proxy or a netrc of the user's is none of the cluster's.
        self._http = httpx.AsyncClient(
            base_url=f"http://{address.host}:{address.port}/v3/", timeout=timeout_s, trust_env=False
        )

    async def call(self, method: str, **request: Any) -> Any:
        """Raises `DefiniteFailure` where nothing was carried out, `ConnectionError` where nobody can say."""
        try:
            answer = await self._http.post(method, json=request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise DefiniteFailure(_told(error)) from None
        except httpx.HTTPError as error:
            raise ConnectionError(_told(error)) from None
        if answer.status_code == httpx.codes.OK:
            return answer.json()
        said = answer.text.strip()
        if any(words in said for words in REFUSED):
            raise DefiniteFailure(said)
        raise ConnectionError(f"HTTP {answer.status_code}: {said}")

    async def date(self) -> float:
        """Seconds since 1970, as the member stamps its answers. Raises `ConnectionError`."""
        try:
            answer = await self._http.get("/version")
        except httpx.HTTPError as error:
            raise ConnectionError(_told(error)) from None
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()

    async def close(self) -> None:
        await self._http.aclose()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def after_prefix(prefix: str) -> str:
    """The end of the range of all keys that begin so."""
    return base64.b64encode(prefix.encode()[:-1] + bytes([prefix.encode()[-1] + 1])).decode()


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
