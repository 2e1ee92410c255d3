"""A second, naive look at every cycle before it is shown, from the plain micro-operations and nothing else.

It shares no code with the inference: an edge counts only if the operations say so, and a cycle only if its
edges join up and make the class of its name. What fails here is a bug of the checker, never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Micro = tuple[str, Any, Any]


@dataclass(frozen=True, slots=True)
class Plain:
    """One transaction as the history tells it. `ended` None: its end is not known."""

    name: str
    process: int
    began: int
    ended: int | None
    operations: Sequence[Micro]


@dataclass(frozen=True, slots=True)
class Link:
    """One edge of a cycle, with the key and the version(s) that it hangs on; `order` is a read that shows the order of
    the key, and `left_out` those of its values that count for nothing."""

    kind: str
    source: Plain
    target: Plain
    key: Any = None
    seen: Any = None
    written: Any = None
    order: Sequence[Any] = ()
    left_out: Sequence[Any] = ()


class WrongCycle(AssertionError):
    """The checker would have claimed what the history does not show."""


def verify(name: str, links: Sequence[Link], model: str, *, assumed_order: bool = False) -> None:
    """Raises `WrongCycle`. `assumed_order` says that key orders were promised beyond what reads show."""
    for link, following in zip(links, [*links[1:], links[0]], strict=True):
        if link.target.name != following.source.name:
            raise WrongCycle(f"{name}: {link.target.name} does not lead on")
        if not _CHECKS[link.kind](link, model, assumed_order):
            raise WrongCycle(f"{name}: nothing shows {link.source.name} -{link.kind}-> {link.target.name}")
    if len({link.source.name for link in links}) != len(links):
        raise WrongCycle(f"{name}: a transaction stands in it twice")
    if not _of_class(name, links):
        raise WrongCycle(f"{name}: its edges are {[link.kind for link in links]}")


def _of_class(name: str, links: Sequence[Link]) -> bool:
    kinds = [link.kind for link in links]
    rw = kinds.count("rw")
    pairs = list(zip(kinds, kinds[1:] + kinds[:1], strict=True))
    adjacent = len(kinds) > 1 and ("rw", "rw") in pairs
    base, _, suffix = name.partition("-process")
    base, dash, _ = base.partition("-realtime")
    if not suffix and not dash and name == base and ("po" in kinds or "rt" in kinds):
        return False
    if name != base and "po" not in kinds and "rt" not in kinds:
        return False
    if name.endswith("-process") and any(
        link.source.process != link.target.process for link in links if link.kind in ("po", "rt")
    ):
        return False
    expected = {
        "G0": rw == 0 and "wr" not in kinds,
        "G1c": rw == 0 and "wr" in kinds,
        "G-single": rw == 1,
        "fractured-read": kinds == ["rw", "wr"],
        "G-nonadjacent": rw > 1 and not adjacent,
        "long-fork": rw == 2 and kinds.count("wr") == 2 and not adjacent,
        "G2-item": rw > 1 and adjacent,
    }
    return bool(expected[base])


def _writes(plain: Plain, key: Any, value: Any) -> bool:
    return any(f in ("append", "w", "send") and k == key and v == value for f, k, v in plain.operations)


def _next_in(order: Sequence[Any], left_out: Sequence[Any], seen: Any, written: Any) -> bool:
    """`written` follows `seen` (None: nothing) with nothing between that counts, or is in no read at all and `seen`
    is the last."""
    counting = [v for v in order if v not in left_out]
    if written in counting:
        place = counting.index(written)
        return bool((counting[place - 1] if place else None) == seen)
    return bool((counting[-1] if counting else None) == seen)


def _ww(link: Link, model: str, assumed: bool) -> bool:
    if not (_writes(link.source, link.key, link.seen) and _writes(link.target, link.key, link.written)):
        return False
    if model == "list-append":
        return link.written in link.order and _next_in(link.order, link.left_out, link.seen, link.written)
    return assumed or _read_before_write(link.target, link.key, link.seen, link.written)


def _read_before_write(plain: Plain, key: Any, seen: Any, written: Any) -> bool:
    micro = [(f, v) for f, k, v in plain.operations if k == key]
    return ("r", seen) in micro[: micro.index(("w", written))]


def _wr(link: Link, model: str, assumed: bool) -> bool:
    if not _writes(link.source, link.key, link.seen):
        return False
    return any(last == link.seen for last in _lasts(link.target, link, model))


def _rw(link: Link, model: str, assumed: bool) -> bool:
    if not _writes(link.target, link.key, link.written):
        return False
    if not any(last == link.seen for last in _lasts(link.source, link, model)):
        return False
    if model == "list-append":
        return _next_in(link.order, link.left_out, link.seen, link.written)
    return link.seen is None or assumed or _read_before_write(link.target, link.key, link.seen, link.written)


def _lasts(plain: Plain, link: Link, model: str) -> list[Any]:
    """The versions that the transaction read of the key: without its own, and without what counts for nothing."""
    if model != "list-append":
        return [v for f, k, v in plain.operations if f in ("r", "poll") and k == link.key]
    own = [v for f, k, v in plain.operations if f == "append" and k == link.key]
    found: list[Any] = []
    for f, k, seen in plain.operations:
        if f == "r" and k == link.key:
            others = [v for v in seen if v not in own and v not in link.left_out]
            found.append(others[-1] if others else None)
    return found


def _po(link: Link, model: str, assumed: bool) -> bool:
    return link.source.process == link.target.process and _rt(link, model, assumed)


def _rt(link: Link, model: str, assumed: bool) -> bool:
    return link.source.ended is not None and link.source.ended < link.target.began


_CHECKS: Mapping[str, Callable[[Link, str, bool], bool]] = {
    "ww": _ww,
    "wr": _wr,
    "rw": _rw,
    "po": _po,
    "rt": _rt,
}
