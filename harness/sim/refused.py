"""The calls of asyncio's loop that reach past the simulated network, each refused by name."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from harness.sim.errors import EscapesSimulationError

REFUSED_LOOP_CALLS = {
    "add_reader": "a simulated loop has no file descriptors; use streams or create_connection",
    "add_writer": "a simulated loop has no file descriptors; use streams or create_connection",
    "remove_reader": "a simulated loop has no file descriptors; use streams or create_connection",
    "remove_writer": "a simulated loop has no file descriptors; use streams or create_connection",
    "connect_read_pipe": "there are no pipes between simulated hosts",
    "connect_write_pipe": "there are no pipes between simulated hosts",
    "create_unix_connection": "there are no Unix sockets between simulated hosts; use create_connection",
    "create_unix_server": "there are no Unix sockets between simulated hosts; use create_server",
    "sendfile": "simulated disks have no file descriptors; write the bytes to the transport",
    "sock_accept": "there are no real sockets; use create_server",
    "sock_connect": "there are no real sockets; use create_connection",
    "sock_recv": "there are no real sockets; use create_connection",
    "sock_recv_into": "there are no real sockets; use create_connection",
    "sock_recvfrom": "there are no real sockets; use create_connection",
    "sock_recvfrom_into": "there are no real sockets; use create_connection",
    "sock_sendall": "there are no real sockets; use create_connection",
    "sock_sendfile": "there are no real sockets; use create_connection",
    "sock_sendto": "there are no real sockets; use create_connection",
    "start_tls": "TLS is not simulated; use plain connections",
    "subprocess_exec": "a simulated host has one process; its program is a coroutine",
    "subprocess_shell": "a simulated host has one process; its program is a coroutine",
    "run_forever": "the simulation is run by its backend",
    "stop": "the simulation ends when its scenario does",
    "close": "the simulation is closed by its backend",
}
"""Name -> what to do instead."""


def _refusal(name: str, instead: str) -> Any:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise EscapesSimulationError(f"loop.{name}()", instead)

    refuse.__name__ = name
    return refuse


class RefusedLoopCalls(asyncio.AbstractEventLoop):
    """Base of the simulated loop: everything above raises `EscapesSimulationError`."""


for _name, _instead in REFUSED_LOOP_CALLS.items():
    setattr(RefusedLoopCalls, _name, _refusal(_name, _instead))
RefusedLoopCalls.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
