"""One node as a process: what it is told while it cannot listen, its end, and the ports it had."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import pytest

from harness import control
from harness.clusters.local.ports import HeldPorts
from harness.clusters.local.process import LocalNode
from harness.process import NodeFile
from harness.topology import NodeInfo, Topology

pytestmark = pytest.mark.real

LISTENER = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


def environment() -> NodeFile:
    here = ("127.0.0.1", 7_001)
    return NodeFile(
        name="n1",
        topology=Topology((NodeInfo("n1", "node", 1, 7_001),)),
        config={},
        bugs=(),
        incarnation=0,
        listen=here,
        advertised=here,
        peers={},
        data="",
        events="",
        start_ns=0,
        seed=0,
    )


def started(folder: Path) -> LocalNode:
    node = LocalNode("n1", folder, folder / "n1.log", "a-run")
    node.spawn(("-c", LISTENER), environment())
    return node


async def heard(node: LocalNode, last: control.Request) -> list[control.Request]:
    """All that it was told, up to this."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = node.log.read_bytes().splitlines(keepends=True)
        requests = [control.decode(line) for line in lines if line.endswith(b"\n")]
        if last in requests:
            return requests
        await asyncio.sleep(0.05)
    raise AssertionError(f"{last} was never heard")


def test_a_paused_node_holds_nobody_up_and_hears_the_last_word(tmp_path: Path) -> None:
    async def story() -> None:
        node = started(tmp_path)
        try:
            assert (await node.stopped(True))[0]
            began = time.monotonic()
            for offset in range(3_000):
                node.ask(control.Clock(offset, 1.0, 0))
            assert time.monotonic() - began < 5
            assert (await node.stopped(False))[0]
            await heard(node, control.Clock(2_999, 1.0, 0))
        finally:
            node.end()

    asyncio.run(story())


def test_a_new_process_is_told_what_holds(tmp_path: Path) -> None:
    async def story() -> None:
        node = started(tmp_path)
        try:
            node.ask(control.Disk(full=True))
            node.ask(control.Clock(1.0, 1.0, 0))
            node.ask(control.Disk(latency_ms=5.0))
            assert await node.kill() == -9
            node.log.unlink()
            node.spawn(("-c", LISTENER), environment())
            clock = control.Clock(1.0, 1.0, 0)
            assert await heard(node, clock) == [control.Disk(latency_ms=5.0), clock]
        finally:
            node.end()

    asyncio.run(story())


def test_a_kill_that_was_begun_by_hand_is_carried_to_its_end(tmp_path: Path) -> None:
    """As a crash at a step does (`harness.faults`): the signal goes out at once."""

    async def story() -> None:
        node = started(tmp_path)
        try:
            kill = node.kill()
            kill.send(None)
            assert await asyncio.get_running_loop().create_task(kill) == -9
        finally:
            node.end()

    asyncio.run(story())


def test_ports_that_are_let_go_leave_nothing_behind() -> None:
    ports = HeldPorts()
    taken = ports.take(5)
    places = [Path(tempfile.gettempdir()) / f"chaos-ports-{os.getuid()}" / str(port) for port in taken]
    assert all(place.exists() for place in places)
    ports.close()
    assert not any(place.exists() for place in places)
