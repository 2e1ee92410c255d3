"""The table of boundaries in the docs is the one in the code, and both are true."""

from __future__ import annotations

import _thread
import asyncio
import os
import random
import re
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
import types
import uuid
from collections.abc import Callable
from pathlib import Path
from random import random as bound_early
from time import monotonic as monotonic_bound_early
from typing import Any

import pytest

from harness.clusters.sim import SimCluster
from harness.sim.boundaries import NOT_COVERED, REFUSED, VIRTUAL
from harness.sim.clock import EPOCH_NS
from harness.sim.errors import EscapesSimulationError
from harness.sim.refused import REFUSED_LOOP_CALLS
from tests.harness.sim.toy import run

DOCS = Path(__file__).parents[3] / "docs" / "explanation" / "simulation.md"


def default_bound_early(clock: Callable[[], float] = time.time) -> float:
    return clock()


REFUSED_CALLS: dict[str, Callable[[], Any]] = {
    "time.sleep": lambda: time.sleep(0),
    "socket.socket": lambda: socket.socket(),
    "threading.Thread.start": lambda: threading.Thread(target=print).start(),
    "_thread.start_new_thread": lambda: _thread.start_new_thread(print, ()),
    "subprocess.Popen": lambda: subprocess.Popen(["true"]),
    "os.fork": lambda: os.fork(),
    "os.posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "os.system": lambda: os.system("true"),
    "select.select": lambda: select.select([], [], [], 0),
    "open for writing": lambda: open("/dev/null", "w"),  # noqa: SIM115
}

VIRTUAL_CALLS: dict[str, Callable[[], Any]] = {
    "time.time": lambda: time.time(),
    "time.time_ns": lambda: time.time_ns(),
    "time.localtime": lambda: time.localtime(),
    "time.gmtime": lambda: time.gmtime(),
    "time.ctime": lambda: time.ctime(),
    "time.strftime": lambda: time.strftime("%H:%M:%S"),
    **{
        f"time.{clock}{suffix}": (lambda name: lambda: getattr(time, name)())(f"{clock}{suffix}")
        for clock in ("monotonic", "perf_counter", "process_time", "thread_time")
        for suffix in ("", "_ns")
    },
    "random.*": lambda: (
        random.random(),
        random.randrange(10**9),
        random.choice(range(10**9)),
        bound_early(),
    ),
    "random.Random()": lambda: random.Random().random(),
    "random.SystemRandom": lambda: random.SystemRandom().random(),
    "secrets": lambda: secrets.token_hex(),
    "os.urandom": lambda: os.urandom(8),
    "os.getrandom": lambda: os.getrandom(8),
    "uuid.uuid1": lambda: uuid.uuid1(),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "os.getpid": lambda: os.getpid(),
    "socket.gethostname": lambda: socket.gethostname(),
    "socket.getaddrinfo": lambda: socket.getaddrinfo("b1", 9000),
    "socket.gethostbyname": lambda: socket.gethostbyname("b1"),
}


def on_client(call: Callable[[], Any], host: str = "p0", seed: int = 0) -> Any:
    async def body() -> Any:
        await asyncio.sleep(1)
        return call()

    async def scenario(cluster: SimCluster) -> Any:
        return await cluster.client_host(host).spawn(body())

    return run(scenario, seed=seed)


def _table(heading: str) -> dict[str, str]:
    section = DOCS.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `?(.+?)`? \| (.+?) \|$", section, re.M)
    return {name: what for name, what in rows if name not in ("call", "---", "what") and "---" not in name}


def test_the_docs_hold_the_same_tables_as_the_code() -> None:
    assert _table("Virtual") == VIRTUAL
    assert _table("Refused") == REFUSED | {f"loop.{k}": v for k, v in REFUSED_LOOP_CALLS.items()}
    assert _table("Not covered") == NOT_COVERED


def test_every_row_is_tried_here() -> None:
    assert VIRTUAL_CALLS.keys() == VIRTUAL.keys()
    assert REFUSED_CALLS.keys() == REFUSED.keys()


@pytest.mark.parametrize("name", sorted(VIRTUAL))
def test_virtual(name: str) -> None:
    call = VIRTUAL_CALLS[name]
    answer = on_client(call)
    assert on_client(call) == answer
    if name.startswith("time."):
        assert on_client(call, seed=1) == answer
    elif name.startswith("socket"):
        assert answer in ("p0", "10.0.0.2", [(2, 1, 6, "", ("10.0.0.2", 9000))])
    else:
        assert call() != answer
        assert name == "os.getpid" or on_client(call, seed=1) != answer


def test_the_clocks_read_what_they_should() -> None:
    assert on_client(lambda: time.time()) == pytest.approx(EPOCH_NS / 1e9 + 1, abs=0.001)
    assert on_client(lambda: time.monotonic()) == pytest.approx(1, abs=0.001)
    assert on_client(lambda: time.strftime("%Y-%m-%d %H:%M:%S")) == "2025-01-01 00:00:01"
    assert on_client(lambda: time.gmtime(0).tm_year) == 1970


def test_names_bound_before_the_simulation_follow_it() -> None:
    assert on_client(lambda: monotonic_bound_early()) == pytest.approx(1, abs=0.001)
    assert on_client(lambda: default_bound_early()) == pytest.approx(EPOCH_NS / 1e9 + 1, abs=0.001)
    assert on_client(lambda: bound_early()) == on_client(lambda: bound_early())
    assert monotonic_bound_early is time.monotonic
    assert default_bound_early() > EPOCH_NS / 1e9 + 1000


def test_modules_imported_meanwhile_are_real_afterwards() -> None:
    def define() -> None:
        module = types.ModuleType("imported_meanwhile")
        exec("from time import monotonic\nfrom uuid import uuid4", vars(module))
        sys.modules["imported_meanwhile"] = module

    try:
        on_client(define)
        module: Any = sys.modules["imported_meanwhile"]
        assert module.monotonic is time.monotonic
        assert module.uuid4 is uuid.uuid4
    finally:
        del sys.modules["imported_meanwhile"]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(name: str) -> None:
    with pytest.raises(EscapesSimulationError, match=re.escape(REFUSED[name])) as caught:
        on_client(REFUSED_CALLS[name])
    assert caught.value.call.split("(")[0] == name.split()[0]


def test_everything_is_real_again_afterwards_even_after_a_failure() -> None:
    state = random.getstate()
    before = (time.time, time.sleep, os.urandom, random.random, threading.Thread.start, open)
    with pytest.raises(ZeroDivisionError):
        on_client(lambda: 1 / 0)
    assert (time.time, time.sleep, os.urandom, random.random, threading.Thread.start, open) == before
    assert random.getstate() == state
    thread = threading.Thread(target=time.sleep, args=(0,))
    thread.start()
    thread.join()


def test_other_threads_stay_in_the_real_world() -> None:
    readings: list[float] = []
    go, gone = threading.Event(), threading.Event()

    def other() -> None:
        go.wait(10)
        time.sleep(0.001)
        readings.append(time.time())
        gone.set()

    thread = threading.Thread(target=other)
    thread.start()

    async def scenario(cluster: SimCluster) -> None:
        go.set()
        gone.wait(10)

    run(scenario)
    thread.join()
    assert readings[0] > EPOCH_NS / 1e9 + 1000


def test_each_process_has_randomness_of_its_own() -> None:
    one = on_client(lambda: random.random(), host="p0")
    assert on_client(lambda: random.random(), host="p1") != one

    async def scenario(cluster: SimCluster) -> float:
        async def draw() -> float:
            return random.random()

        # What others draw meanwhile does not move it.
        for _ in range(100):
            random.random()
            await cluster.client_host("p1").spawn(draw())
        return await cluster.client_host("p0").spawn(draw())

    assert run(scenario) == one


def test_one_simulation_at_a_time() -> None:
    async def scenario(cluster: SimCluster) -> None:
        run(scenario)

    with pytest.raises(RuntimeError, match="one after the other"):
        run(scenario)
