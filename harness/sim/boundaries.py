"""Where a simulated program would meet the real world, and what it meets instead.

While a simulation runs, the functions below are replaced: by their virtual counterpart, or by a refusal
that names the call. Names that other modules bound early (`from time import monotonic`, a default
argument) are found and replaced too. Only the simulation's own thread sees a difference.
"""

from __future__ import annotations

import _thread
import builtins
import functools
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from harness.sim.errors import EscapesSimulationError

if TYPE_CHECKING:
    from harness.sim.streams import StreamLoop

VIRTUAL: Final = {
    "time.time": "wall clock of the calling host",
    "time.time_ns": "wall clock of the calling host",
    "time.localtime": "wall clock of the calling host, in UTC",
    "time.gmtime": "wall clock of the calling host",
    "time.ctime": "wall clock of the calling host, in UTC",
    "time.strftime": "wall clock of the calling host, in UTC",
    "time.monotonic": "virtual time, never skewed",
    "time.monotonic_ns": "virtual time, never skewed",
    "time.perf_counter": "virtual time, never skewed",
    "time.perf_counter_ns": "virtual time, never skewed",
    "time.process_time": "virtual time",
    "time.process_time_ns": "virtual time",
    "time.thread_time": "virtual time",
    "time.thread_time_ns": "virtual time",
    "random.*": "module functions: a generator of the calling process, seeded by the run",
    "random.Random()": "without a seed: seeded by the calling process's generator",
    "random.SystemRandom": "the calling process's generator",
    "secrets": "the calling process's generator",
    "os.urandom": "the calling process's generator",
    "os.getrandom": "the calling process's generator",
    "uuid.uuid1": "the calling process's generator",
    "uuid.uuid4": "the calling process's generator",
    "os.getpid": "a number of the simulated process",
    "socket.gethostname": "the simulated host's name",
    "socket.getaddrinfo": "the simulated hosts",
    "socket.gethostbyname": "the simulated hosts",
}
"""What is virtual -> what it answers."""

REFUSED: Final = {
    "time.sleep": "it would block every host; await asyncio.sleep()",
    "socket.socket": "use asyncio's streams or create_connection",
    "threading.Thread.start": "a simulated host has one thread; create a task",
    "_thread.start_new_thread": "a simulated host has one thread; create a task",
    "subprocess.Popen": "a simulated host has one process; its program is a coroutine",
    "os.fork": "a simulated host has one process; its program is a coroutine",
    "os.posix_spawn": "a simulated host has one process; its program is a coroutine",
    "os.system": "a simulated host has one process; its program is a coroutine",
    "select.select": "use asyncio's streams or create_connection",
    "open for writing": "nodes and clients write to NodeEnvironment.disk",
}
"""What raises `EscapesSimulationError` -> what to do instead."""

NOT_COVERED: Final = {
    "datetime.datetime.now": "a type of C that cannot be replaced; use the wall clock of the environment",
    "C extensions": "those that ask the operating system themselves",
    "object identity": "sets whose order depends on id(), that is on an address; before Python 3.12 also "
    "hash(None), and with it a set of tuples that hold None",
    "PYTHONHASHSEED": "sets of strings in third-party code; the command line pins it to 0",
    "reading files": "open() for reading stays real: lazy imports and tracebacks need it",
    "asyncio.Future() made by hand": "hashes by identity; loop.create_future() does not",
}
"""What stays real, and what that means."""

_RANDOM_FUNCTIONS: Final = tuple(
    name
    for name in random.__all__
    if isinstance(getattr(random, name), (types.MethodType, types.BuiltinMethodType))
)

_active: StreamLoop | None = None
_thread_id = 0


def _loop() -> StreamLoop | None:
    """The running simulation, if the caller belongs to it."""
    return _active if _active is not None and _thread.get_ident() == _thread_id else None


def _virtual(real: Callable[..., Any], simulated: Callable[..., Any]) -> Callable[..., Any]:
    """`simulated` gets the loop and the call's arguments."""

    @functools.wraps(real)
    def either(*args: Any, **kwargs: Any) -> Any:
        loop = _loop()
        return real(*args, **kwargs) if loop is None else simulated(loop, *args, **kwargs)

    return either


def _refused(real: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(real)
    def refuse(*args: Any, **kwargs: Any) -> Any:
        if _loop() is None:
            return real(*args, **kwargs)
        raise EscapesSimulationError(f"{name}()", REFUSED[name])

    return refuse


def _wall_ns(loop: StreamLoop) -> int:
    return loop.process.host.clock.time_ns()


def _urandom(loop: StreamLoop, size: int, flags: int = 0) -> bytes:
    return loop.process.random.randbytes(size)


def _wall_struct(loop: StreamLoop, seconds: float | None = None) -> time.struct_time:
    return _real_gmtime(_wall_ns(loop) / 1e9 if seconds is None else seconds)


_real_gmtime = time.gmtime
_real_asctime = time.asctime
_real_strftime = time.strftime
_real_open = builtins.open
_real_seed = random.Random.seed


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    loop = _loop()
    if a is None and loop is not None:
        a = loop.process.random.getrandbits(128)
    _real_seed(self, a, version)


def _open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    loop = _loop()
    if loop is not None and loop.process.host.name != "harness" and any(c in mode for c in "wax+"):
        raise EscapesSimulationError(f"open({file!r}, {mode!r})", REFUSED["open for writing"])
    return _real_open(file, mode, *args, **kwargs)


def _uuid(version: int) -> Callable[..., uuid.UUID]:
    return lambda loop, *args, **kwargs: uuid.UUID(bytes=loop.process.random.randbytes(16), version=version)


def _replacements() -> list[tuple[Any, str, Any]]:
    """(owner, attribute, replacement) for everything in the tables."""
    table: list[tuple[Any, str, Any]] = []

    def virtual(owner: Any, name: str, simulated: Callable[..., Any]) -> None:
        if hasattr(owner, name):
            table.append((owner, name, _virtual(getattr(owner, name), simulated)))

    virtual(time, "time", lambda loop: _wall_ns(loop) / 1e9)
    virtual(time, "time_ns", _wall_ns)
    virtual(time, "localtime", _wall_struct)
    virtual(time, "gmtime", _wall_struct)
    virtual(time, "ctime", lambda loop, seconds=None: _real_asctime(_wall_struct(loop, seconds)))
    virtual(
        time,
        "strftime",
        lambda loop, text, when=None: _real_strftime(text, _wall_struct(loop) if when is None else when),
    )
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        virtual(time, name, lambda loop: loop.now_ns / 1e9)
        virtual(time, f"{name}_ns", lambda loop: loop.now_ns)
    for name in _RANDOM_FUNCTIONS:
        virtual(random, name, _of_process(name))
    virtual(os, "urandom", _urandom)
    virtual(os, "getrandom", _urandom)
    virtual(random, "_urandom", _urandom)
    virtual(uuid, "uuid1", _uuid(1))
    virtual(uuid, "uuid4", _uuid(4))
    virtual(os, "getpid", lambda loop: 1_000 + loop.process.number)
    virtual(socket, "gethostname", lambda loop: loop.process.host.name)
    virtual(socket, "getaddrinfo", lambda loop, host, port, *args, **kwargs: loop.resolve(host, port))
    virtual(socket, "gethostbyname", lambda loop, name: loop.resolve(name, 0)[0][4][0])
    table.append((random.Random, "seed", _seed))
    table.append((builtins, "open", _open))
    for owner, attribute, name in (
        (time, "sleep", "time.sleep"),
        (socket.socket, "__init__", "socket.socket"),
        (threading.Thread, "start", "threading.Thread.start"),
        (_thread, "start_new_thread", "_thread.start_new_thread"),
        (subprocess.Popen, "__init__", "subprocess.Popen"),
        (os, "fork", "os.fork"),
        (os, "posix_spawn", "os.posix_spawn"),
        (os, "system", "os.system"),
        (select, "select", "select.select"),
    ):
        if hasattr(owner, attribute):
            table.append((owner, attribute, _refused(getattr(owner, attribute), name)))
    return table


def _of_process(name: str) -> Callable[..., Any]:
    return lambda loop, *args, **kwargs: getattr(loop.process.random, name)(*args, **kwargs)


_TABLE: Final = _replacements()
_REAL: Final = [(owner, name, getattr(owner, name)) for owner, name, _ in _TABLE]


@contextmanager
def simulated(loop: StreamLoop) -> Iterator[None]:
    """Replaces everything in the tables while the block runs, in this thread only."""
    global _active, _thread_id
    if _active is not None:
        raise RuntimeError("a simulation is already running in this process: run one after the other")
    state = random.getstate()
    _active, _thread_id = loop, _thread.get_ident()
    # Bound methods of the global generator that somebody took early still follow the run.
    _real_seed(random._inst, loop.choices.derive("random").getrandbits(128))
    early = _early_bound()
    try:
        for (owner, name, replacement), _ in zip(_TABLE, _REAL, strict=True):
            setattr(owner, name, replacement)
        for bind in early:
            bind(True)
        yield
    finally:
        for owner, name, real in _REAL:
            setattr(owner, name, real)
        for bind in early:
            bind(False)
        _unbind_late()
        _active = None
        random.setstate(state)


# Names that were bound before the simulation began

_Rebinding = Callable[[bool], None]
_scanned: tuple[int, list[_Rebinding]] = (0, [])
_KEPT: Final = frozenset({"time", "random", "os", "posix", "socket", "select", "builtins", "_thread", "uuid"})
_BY_REAL: Final = {
    id(real): replacement
    for (_, _, replacement), (owner, _, real) in zip(_TABLE, _REAL, strict=True)
    if isinstance(owner, types.ModuleType)
}
_BY_REPLACEMENT: Final = {
    id(replacement): real
    for (owner, _, replacement), (_, _, real) in zip(_TABLE, _REAL, strict=True)
    if isinstance(owner, types.ModuleType)
}


def _modules() -> list[types.ModuleType]:
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name not in _KEPT and not name.startswith("harness.sim")
    ]


def _early_bound() -> list[_Rebinding]:
    """Every module global and default argument that holds one of the real functions."""
    global _scanned
    if _scanned[0] != len(sys.modules):
        found: list[_Rebinding] = []
        for module in _modules():
            names = vars(module)
            for name, value in list(names.items()):
                if id(value) in _BY_REAL:
                    found.append(functools.partial(_bind_global, names, name, value, _BY_REAL[id(value)]))
                elif isinstance(value, type) and value.__module__ == module.__name__:
                    for member in list(vars(value).values()):
                        found += _bound_defaults(member)
                else:
                    found += _bound_defaults(value)
        _scanned = (len(sys.modules), found)
    return _scanned[1]


def _bind_global(names: dict[str, Any], name: str, real: Any, replacement: Any, simulate: bool) -> None:
    names[name] = replacement if simulate else real


def _bound_defaults(value: Any) -> list[_Rebinding]:
    if not isinstance(value, types.FunctionType) or not value.__defaults__:
        return []
    if not any(id(d) in _BY_REAL for d in value.__defaults__):
        return []
    real = value.__defaults__
    return [functools.partial(_bind_defaults, value, real, tuple(_BY_REAL.get(id(d), d) for d in real))]


def _bind_defaults(
    function: types.FunctionType, real: tuple[Any, ...], replaced: tuple[Any, ...], simulate: bool
) -> None:
    function.__defaults__ = replaced if simulate else real


def _unbind_late() -> None:
    """Modules that were imported during the simulation bound the replacements: give them the real ones."""
    if _scanned[0] == len(sys.modules):
        return
    for module in _modules():
        names = vars(module)
        for name, value in list(names.items()):
            if id(value) in _BY_REPLACEMENT:
                names[name] = _BY_REPLACEMENT[id(value)]
            elif isinstance(value, types.FunctionType) and value.__defaults__:
                value.__defaults__ = tuple(_BY_REPLACEMENT.get(id(d), d) for d in value.__defaults__)
