"""Sequential specifications: what each operation may answer in each state, and the state that it leaves.

A model is a small record of functions. States and values are hashable (lists are tuples, maps sorted tuples of
pairs). `fail` operations certainly did not happen and never reach a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from harness.errors import unknown_name

ILLEGAL: Final = object()
"""No state: the operation cannot have answered so."""


class Call(NamedTuple):
    """One operation. An `info` call (`certain` False) has no answer and may take effect at any time or never."""

    f: str
    asked: Any
    answered: Any
    start: int
    end: int
    certain: bool = True
    process: Any = None
    row: int = -1


class Model(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str
    functions: Mapping[str, str]
    """Every name an operation may have in a history -> its name in `step`."""
    step: Callable[[Any, Call], Any]
    observers: frozenset[str]
    """Operations that never change the state."""
    idle: Callable[[Sequence[Call]], Callable[[Call], bool]]
    """Of all calls: which `info` calls no legal order needs, since taking one out leaves it legal."""
    initial: Any = None
    keyed: bool = True
    """Operations on different keys have nothing to do with each other."""


_READ: Final = {"read": "read", "r": "read", "get": "read"}
_WRITE: Final = {"write": "write", "w": "write", "put": "write", "set": "write"}


def _register(state: Any, call: Call) -> Any:
    if call.f == "read":
        return state if call.answered == state else ILLEGAL
    if call.f == "write":
        return call.asked
    old, new = call.asked
    return new if state == old else ILLEGAL


def _unread_writes(calls: Sequence[Call]) -> Callable[[Call], bool]:
    """A write whose value nobody read or compared with can be taken out of any legal order."""
    wanted = {c.answered for c in calls if c.f == "read"} | {c.asked[0] for c in calls if c.f == "cas"}
    return lambda call: (call.asked[1] if call.f == "cas" else call.asked) not in wanted


def micro_operations(value: Any) -> tuple[tuple[str, Any, Any], ...]:
    """`[[f, key, value], …]`."""
    return tuple((str(f).lstrip(":")[0], key, found) for f, key, found in value or ())


def _multi_register(state: Any, call: Call) -> Any:
    registers = dict(state)
    certain = call.certain
    for f, key, value in micro_operations(call.answered if certain else call.asked):
        if f == "w":
            registers[key] = value
        elif certain and registers.get(key) != value:
            return ILLEGAL
    return tuple(sorted(((k, v) for k, v in registers.items() if v is not None), key=repr))


def _only_reads(calls: Sequence[Call]) -> Callable[[Call], bool]:
    read = {
        (key, value)
        for call in calls
        if call.certain
        for f, key, value in micro_operations(call.answered)
        if f == "r"
    }
    return lambda call: not any(f == "w" and (k, v) in read for f, k, v in micro_operations(call.asked))


def _counter(state: Any, call: Call) -> Any:
    if call.f == "read":
        return state if call.answered == state else ILLEGAL
    amount = 1 if call.asked is None else call.asked
    return state + amount if call.f == "add" else state - amount


def _set(state: Any, call: Call) -> Any:
    if call.f == "read":
        return state if frozenset(call.answered or ()) == state else ILLEGAL
    if call.f == "add":
        return state | {call.asked}
    return state - {call.asked}


def _unread_adds(calls: Sequence[Call]) -> Callable[[Call], bool]:
    seen = {element for call in calls if call.f == "read" for element in call.answered or ()}
    return lambda call: call.f == "add" and call.asked not in seen


def _queue(state: Any, call: Call) -> Any:
    if call.f == "enqueue":
        return (*state, call.asked)
    if not call.certain:
        return state[1:]
    if call.answered is None:
        return state if not state else ILLEGAL
    return state[1:] if state and state[0] == call.answered else ILLEGAL


def _never_dequeued(calls: Sequence[Call]) -> Callable[[Call], bool]:
    """An `info` dequeue may have taken any element, so with one of them every enqueue may matter."""
    if any(c.f == "dequeue" and not c.certain for c in calls):
        return lambda call: False
    taken = {c.answered for c in calls if c.f == "dequeue"}
    return lambda call: call.f == "enqueue" and call.asked not in taken


def _lock(state: Any, call: Call) -> Any:
    holder = call.process if call.asked is None else call.asked
    if call.f == "acquire":
        return holder if state is None else ILLEGAL
    return None if state == holder else ILLEGAL


def _unreleased(calls: Sequence[Call]) -> Callable[[Call], bool]:
    released = {c.process if c.asked is None else c.asked for c in calls if c.f == "release"}
    return lambda call: (
        call.f == "acquire" and (call.process if call.asked is None else call.asked) not in released
    )


_ALL: Final = (
    Model(
        name="register",
        description="reads return the last value written",
        functions={**_READ, **_WRITE},
        step=_register,
        observers=frozenset({"read"}),
        idle=_unread_writes,
    ),
    Model(
        name="cas-register",
        description="a register with compare-and-set, whose value is [old, new]",
        functions={**_READ, **_WRITE, "cas": "cas"},
        step=_register,
        observers=frozenset({"read"}),
        idle=_unread_writes,
    ),
    Model(
        name="multi-register",
        description="transactions of [f, key, value] micro-operations (r, w) on several registers",
        functions={"txn": "txn", "read": "txn", "write": "txn"},
        step=_multi_register,
        observers=frozenset(),
        idle=_only_reads,
        initial=(),
        keyed=False,
    ),
    Model(
        name="counter",
        description="add and decrement by a number (1 where none is given); reads return the sum",
        functions={
            **_READ,
            "add": "add",
            "inc": "add",
            "increment": "add",
            "decr": "subtract",
            "decrement": "subtract",
        },
        step=_counter,
        observers=frozenset({"read"}),
        idle=lambda calls: lambda call: False,
        initial=0,
    ),
    Model(
        name="set",
        description="add and remove elements; reads return all of them",
        functions={**_READ, "add": "add", "remove": "remove"},
        step=_set,
        observers=frozenset({"read"}),
        idle=_unread_adds,
        initial=frozenset(),
    ),
    Model(
        name="queue",
        description="first in, first out: enqueue, and dequeue (null where it was empty)",
        functions={"enqueue": "enqueue", "dequeue": "dequeue"},
        step=_queue,
        observers=frozenset(),
        idle=_never_dequeued,
        initial=(),
    ),
    Model(
        name="lock",
        description="acquire and release by a holder (the value; the process where none is given)",
        functions={"acquire": "acquire", "release": "release"},
        step=_lock,
        observers=frozenset(),
        idle=_unreleased,
    ),
)
MODELS: Final[Mapping[str, Model]] = {model.name: model for model in _ALL}
"""What `--model` may name."""


def model(name: str) -> Model:
    """Raises `UserError` with the nearest known name."""
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]
