"""RESP, the Redis serialisation protocol: requests in, answers of version 2 or 3 out (redis.io, protocol spec)."""

from __future__ import annotations

import shlex
from typing import Any

MAX_BULK = 8 * 1024 * 1024
MAX_ITEMS = 100_000
MAX_LINE = 64 * 1024


class ProtocolError(Exception):
    """The stream cannot be followed any further."""


class Error(Exception):
    """An answer that begins with `-`: a code in capitals and a sentence."""


class Simple(str):
    """A simple string (`+OK`)."""


class Parser:
    """Requests from a byte stream: arrays of bulk strings, or inline commands."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The requests that are complete. Raises `ProtocolError`."""
        self._received += data
        requests: list[list[bytes]] = []
        start = 0
        while (parsed := self._request(start)) is not None:
            request, start = parsed
            if request:
                requests.append(request)
        del self._received[:start]
        return requests

    def _request(self, start: int) -> tuple[list[bytes], int] | None:
        line = self._line(start)
        if line is None:
            return None
        text, at = line
        if not text.startswith(b"*"):
            return _inline(text), at
        count = _number(text[1:], "multibulk length", MAX_ITEMS)
        words: list[bytes] = []
        for _ in range(max(count, 0)):
            line = self._line(at)
            if line is None:
                return None
            text, at = line
            if not text.startswith(b"$"):
                raise ProtocolError(f"expected '$', got '{text[:1].decode(errors='replace')}'")
            length = _number(text[1:], "bulk length", MAX_BULK)
            if length < 0:
                raise ProtocolError("invalid bulk length")
            if len(self._received) < at + length + 2:
                return None
            words.append(bytes(self._received[at : at + length]))
            if self._received[at + length : at + length + 2] != b"\r\n":
                raise ProtocolError("a bulk string does not end where it should")
            at += length + 2
        return words, at

    def _line(self, start: int) -> tuple[bytes, int] | None:
        end = self._received.find(b"\n", start)
        if end < 0:
            if len(self._received) - start > MAX_LINE:
                raise ProtocolError("too big inline request")
            return None
        return bytes(self._received[start:end].rstrip(b"\r")), end + 1


def _inline(text: bytes) -> list[bytes]:
    """What somebody types: words, quoted where they hold spaces."""
    try:
        return [
            word.encode("utf-8", "surrogateescape")
            for word in shlex.split(text.decode("utf-8", "surrogateescape"))
        ]
    except ValueError:
        raise ProtocolError("unbalanced quotes in request") from None


def _number(text: bytes, what: str, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ProtocolError(f"invalid {what}") from None
    if number > most:
        raise ProtocolError(f"invalid {what}")
    return number


def encoded(answer: Any, version: int = 2) -> bytes:
    """Of None, bool, int, float, bytes, str, lists, dicts, `Simple` and `Error`."""
    match answer:
        case None:
            return b"_\r\n" if version >= 3 else b"$-1\r\n"
        case bool():
            return (b"#t\r\n" if answer else b"#f\r\n") if version >= 3 else b":%d\r\n" % answer
        case int():
            return b":%d\r\n" % answer
        case float():
            text = repr(answer).encode()
            return b",%b\r\n" % text if version >= 3 else b"$%d\r\n%b\r\n" % (len(text), text)
        case Simple():
            return b"+%b\r\n" % answer.encode()
        case Error():
            return b"-%b\r\n" % " ".join(str(answer).split()).encode()
        case str():
            return encoded(answer.encode(), version)
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(answer), answer)
        case dict():
            flat = [part for pair in answer.items() for part in pair]
            head = b"%%%d\r\n" % len(answer) if version >= 3 else b"*%d\r\n" % len(flat)
            return head + b"".join(encoded(part, version) for part in flat)
        case list() | tuple():
            return b"*%d\r\n" % len(answer) + b"".join(encoded(part, version) for part in answer)
    raise TypeError(f"no RESP for {type(answer).__name__}")
