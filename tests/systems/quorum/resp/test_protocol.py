"""RESP against hiredis, the parser of Redis' own clients."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems.quorum.resp.protocol import MAX_LINE, Error, Parser, ProtocolError, Simple, encoded

WORDS = st.lists(st.binary(max_size=40), min_size=1, max_size=6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=20)
    | st.text(max_size=9)
)
ANSWERS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


def request(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def decoded(data: bytes) -> Any:
    """The one answer in it, to the last byte."""
    reader = hiredis.Reader()
    reader.feed(data)
    answer = reader.gets()
    assert not reader.has_data()
    return answer


def in_version_2(answer: Any) -> Any:
    match answer:
        case bool():
            return int(answer)
        case str():
            return answer.encode()
        case list():
            return [in_version_2(part) for part in answer]
    return answer


def in_version_3(answer: Any) -> Any:
    match answer:
        case str():
            return answer.encode()
        case list():
            return [in_version_3(part) for part in answer]
    return answer


@given(st.lists(WORDS, max_size=5), st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_pipelined_requests_come_out_whatever_pieces_they_come_in(
    requests: list[list[bytes]], sizes: list[int]
) -> None:
    stream = b"".join(map(request, requests))
    parser, out, at, turn = Parser(), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        out += parser.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert out == requests


@given(ANSWERS)
def test_answers_are_what_hiredis_reads(answer: Any) -> None:
    assert decoded(encoded(answer, 2)) == in_version_2(answer)
    assert decoded(encoded(answer, 3)) == in_version_3(answer)


def test_maps_are_maps_in_version_3_and_lists_in_version_2() -> None:
    assert decoded(encoded({"a": 1, "b": None}, 3)) == {b"a": 1, b"b": None}
    assert decoded(encoded({"a": 1, "b": None}, 2)) == [b"a", 1, b"b", None]


def test_simple_strings_and_errors() -> None:
    assert encoded(Simple("OK")) == b"+OK\r\n"
    assert encoded(Error("ERR two\r\nlines")) == b"-ERR two lines\r\n"
    assert str(decoded(encoded(Error("ERR two lines")))) == "ERR two lines"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (b"PING\r\n", [b"PING"]),
        (b"get  a\n", [b"get", b"a"]),
        (b'SET a "b c"\r\n', [b"SET", b"a", b"b c"]),
        (b"SET a 'b c' ''\r\n", [b"SET", b"a", b"b c", b""]),
        (b"SET a \xff\r\n", [b"SET", b"a", b"\xff"]),
    ],
)
def test_inline_commands(typed: bytes, words: list[bytes]) -> None:
    assert Parser().feed(typed) == [words]


def test_empty_lines_and_empty_arrays_are_no_requests() -> None:
    assert Parser().feed(b"\r\n*0\r\n*-1\r\nPING\r\n") == [[b"PING"]]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1000001\r\n", "invalid multibulk length"),
        (b"*1\r\n:1\r\n", "expected '\\$', got ':'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$1\r\nabc", "does not end where it should"),
        (b'SET a "b\r\n', "unbalanced quotes"),
        (b"x" * (MAX_LINE + 1), "too big inline request"),
    ],
)
def test_what_cannot_be_followed_is_an_error_that_says_why(sent: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        Parser().feed(sent)
