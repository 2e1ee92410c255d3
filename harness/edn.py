"""Jepsen's histories as they are: EDN, an operation map a line (`history.edn`), or one vector of maps.

Keywords, symbols and characters become strings, maps dictionaries, lists, vectors and sets lists. Tags are left
out and what they tag is kept, so that a record (`#jepsen.history.Op{…}`) reads as its map.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.errors import UserError
from harness.history import History
from harness.ops import NEMESIS, Op, Process

_TYPES: Final = frozenset({"invoke", "ok", "fail", "info"})
_FIELDS: Final = frozenset({"index", "time", "process", "type", "f", "key", "value", "error"})

_TOKEN: Final = re.compile(
    r"""[\s,]+ | ;[^\n]* | (?P<string>"(?:[^"\\]|\\.)*") | (?P<discard>\#_) | (?P<set>\#\{)
      | (?P<open>[\[({]) | (?P<close>[\])}]) | (?P<tag>\#[A-Za-z][^\s,{}\[\]()"]*) | \\(?P<char>[A-Za-z]+|.)
      | (?P<atom>[^\s,{}\[\]()";]+)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CHARACTERS: Final = {"newline": "\n", "space": " ", "tab": "\t", "return": "\r"}
_WORDS: Final[dict[str, Any]] = {"nil": None, "true": True, "false": False}
_NUMBER: Final = re.compile(r"[+-]?\d+N?|[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?M?")
_CLOSES: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}


class EdnError(ValueError):
    """What is wrong, and at which character."""


def parse(text: str) -> list[Any]:
    """Every form of the text, in order. Raises `EdnError`."""
    stack: list[tuple[str, list[Any]]] = [("", [])]
    position, end = 0, len(text)
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise EdnError(f"character {position + 1}: unexpected {text[position]!r}")
        position = match.end()
        kind, token = match.lastgroup, match.group()
        if kind is None:
            continue
        if kind in ("open", "set"):
            stack.append((token, []))
        elif kind == "close":
            opened, forms = stack.pop()
            if _CLOSES.get(opened) != token:
                raise EdnError(f"character {position}: '{token}' closes nothing that was opened")
            _push(stack[-1][1], _collection(opened, forms, position))
        elif kind in ("discard", "tag"):
            stack[-1][1].append(_DISCARD if kind == "discard" else _TAG)
        elif kind == "string":
            _push(stack[-1][1], _ESCAPE.sub(_unescape, token[1:-1]))
        elif kind == "char":
            _push(stack[-1][1], _CHARACTERS.get(match["char"], match["char"]))
        else:
            _push(stack[-1][1], _atom(token))
    if len(stack) > 1:
        raise EdnError(f"'{stack[-1][0]}' is never closed")
    return stack[0][1]


_DISCARD: Final = object()
_TAG: Final = object()


def _push(forms: list[Any], form: Any) -> None:
    while forms and forms[-1] is _TAG:
        forms.pop()
    if forms and forms[-1] is _DISCARD:
        forms.pop()
    else:
        forms.append(form)


def _collection(opened: str, forms: list[Any], position: int) -> Any:
    if opened != "{":
        return forms
    if len(forms) % 2:
        raise EdnError(f"character {position}: a map has a key without a value")
    return {
        key if isinstance(key, str) else str(key): value
        for key, value in zip(forms[::2], forms[1::2], strict=True)
    }


def _unescape(match: re.Match[str]) -> str:
    what = match[1]
    return chr(int(what[1:], 16)) if len(what) == 5 else _ESCAPES.get(what, what)


def _atom(token: str) -> Any:
    if token in _WORDS:
        return _WORDS[token]
    if token.startswith(":"):
        return token[1:]
    if _NUMBER.fullmatch(token):
        number = token.rstrip("NM")
        return int(number) if number.lstrip("+-").isdigit() else float(number)
    return token


_GAP: Final = re.compile(r"[\s,]+")
_WORD: Final = re.compile(r":([A-Za-z][A-Za-z0-9_.*+!?<>=/-]*)|\bnil\b")


def _map(line: str) -> Any:
    """One line. The usual ones, a map of keywords, numbers and vectors, become JSON by two replacements: twenty
    times as fast as token by token."""
    if line.startswith("{") and line.endswith("}") and not any(c in line for c in '"#\\;'):
        inner = line[1:-1]
        if "{" not in inner:
            text = _GAP.sub(",", inner.strip(" ,").replace("(", "[").replace(")", "]"))
            try:
                forms = msgspec.json.decode("[" + _WORD.sub(_as_json, text) + "]")
                if len(forms) % 2 == 0:
                    return dict(zip(forms[::2], forms[1::2], strict=True))
            except (msgspec.DecodeError, TypeError):
                pass
    forms = parse(line)
    if len(forms) != 1:
        raise EdnError(f"expected one map, got {len(forms)} forms")
    return forms[0]


def _as_json(match: re.Match[str]) -> str:
    return "null" if match[1] is None else f'"{match[1]}"'


def is_edn(path: Path) -> bool:
    """By its name, or because its first map has a keyword for its first key."""
    if path.suffix == ".edn":
        return True
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    return re.match(rb"[\s,\[(]*(?:#[\w.]+)?\{\s*:[a-z]", start) is not None


def read_history(path: Path) -> History:
    """Raises `UserError` with file and line for what is no EDN or no operation. What Jepsen leaves out (`:index`,
    `:time` in old histories) is counted."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}: expected a history in EDN") from None
    ops: list[Op] = []
    maps, warnings = _maps(path, text)
    for number, operation in maps:
        try:
            ops.append(_op(operation, len(ops), ops[-1] if ops else None))
        except EdnError as error:
            raise UserError(f"{path}: line {number}: {error}") from None
    return History(ops, warnings)


def _maps(path: Path, text: str) -> tuple[list[tuple[int, Any]], list[str]]:
    """The operations, each with the number of its line, and warnings. Where maps do not stand one a line they are
    numbered instead."""
    found: list[tuple[int, Any]] = []
    wrong: str | None = None
    lines = text.split("\n")
    if text.lstrip(" \n\t,")[:1] not in ("[", "("):
        for number, line in enumerate(lines, start=1):
            try:
                if line.strip():
                    found.append((number, _map(line.strip())))
            except EdnError as error:
                if number == len(lines) and found:
                    return found, [f"line {number} is torn ({len(line)} bytes) and was left out"]
                wrong = f"line {number}: {error}"
                break
        else:
            return found, []
    try:
        forms = parse(text)
    except EdnError as error:
        raise UserError(f"{path}: {wrong or error}") from None
    if len(forms) == 1 and isinstance(forms[0], list):
        forms = forms[0]
    return list(enumerate(forms, start=1)), []


def _op(given: Any, place: int, before: Op | None) -> Op:
    if not isinstance(given, dict):
        raise EdnError(f"expected an operation map, got {given!r}")
    for name in ("type", "f", "process"):
        if name not in given:
            raise EdnError(f"the operation has no :{name}")
    if given["type"] not in _TYPES:
        raise EdnError(f"unknown :type {given['type']!r}: known: :invoke, :ok, :fail, :info")
    process: Process = given["process"] if isinstance(given["process"], int) else str(given["process"])
    index, time = given.get("index"), given.get("time")
    return Op(
        index=index if isinstance(index, int) else place,
        time=time if isinstance(time, int) else (before.time if before is not None else 0),
        process=NEMESIS if process == NEMESIS else process,
        type=given["type"],
        f=str(given["f"]),
        key=given.get("key"),
        value=given.get("value"),
        error=given.get("error"),
        extra={str(k): v for k, v in given.items() if k not in _FIELDS},
    )
