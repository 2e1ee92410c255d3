"""Where the runs of a sweep go: the cores of this machine, or a Dask cluster.

A run must have a process of its own (the simulator takes the place of `time` and `random` in it) whose hash seed is
pinned. A Dask worker has threads that need the real clock, so it starts a process for a few runs at a time.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec

from harness.campaign import RunLine, run_specs
from harness.determinism import HASH_SEED
from harness.errors import UserError
from harness.spec import Spec
from harness.sweep.matrix import Place

LOCAL = "local"
DASK = "dask://"
RUNS_A_TASK = 4
CONNECT_S = 10


class Executor(Protocol):
    def run(self, asked: Iterable[tuple[Place, Spec]], root: Path) -> Iterator[tuple[Place, RunLine]]:
        """Each run when it is done, in any order. Run folders go below `root`."""
        ...


def executor(text: str, cores: int | None = None) -> Executor:
    """`local`, or `dask://host:port`. Raises `UserError`."""
    if text == LOCAL:
        return Cores(cores)
    if text.startswith(DASK) and text != DASK:
        return Dask(text.removeprefix(DASK))
    raise UserError(f"--executor {text}: expected '{LOCAL}' or '{DASK}host:port'")


class Cores:
    def __init__(self, cores: int | None) -> None:
        self._cores = cores

    def run(self, asked: Iterable[tuple[Place, Spec]], root: Path) -> Iterator[tuple[Place, RunLine]]:
        places: dict[int, Place] = {}

        def specs() -> Iterator[Spec]:
            for position, (place, spec) in enumerate(asked):
                places[position] = place
                yield spec

        for position, run in run_specs(specs(), root=root, cores=self._cores):
            yield places.pop(position), run


class Dask:
    """Folders of runs are written by the workers: `root` must be a file system that they share, or the links of
    the report point to where they are."""

    def __init__(self, address: str) -> None:
        try:
            distributed: Any = importlib.import_module("distributed")
        except ModuleNotFoundError:
            raise UserError(
                "--executor dask://… needs distributed: pip install 'chaos-harness[dask]'"
            ) from None
        self._dask = distributed
        try:
            self._client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(
                f"no Dask scheduler answers at {address} ({type(error).__name__}): start one with `dask scheduler` "
                "and workers with `dask worker`, or leave --executor out to use this machine's cores"
            ) from None

    def run(self, asked: Iterable[tuple[Place, Spec]], root: Path) -> Iterator[tuple[Place, RunLine]]:
        left = iter(asked)
        waiting: dict[Any, list[Place]] = {}
        finished = self._dask.as_completed(loop=self._client.loop)

        def submit() -> None:
            chunk = list(islice(left, RUNS_A_TASK))
            if chunk:
                specs = [msgspec.json.encode(spec) for _, spec in chunk]
                future = self._client.submit(run_chunk, specs, str(root), pure=False)
                waiting[future] = [place for place, _ in chunk]
                finished.add(future)

        try:
            for _ in range(2 * max(1, sum(self._client.nthreads().values()))):
                submit()
            while waiting:
                future = next(finished)
                places = waiting.pop(future)
                try:
                    lines = future.result()
                except (OSError, RuntimeError) as error:
                    raise UserError(f"a Dask worker failed: {error}") from None
                submit()
                for place, line in zip(places, lines, strict=True):
                    yield place, msgspec.json.decode(line, type=RunLine)
        finally:
            for future in waiting:
                future.cancel()
            self._client.close()


def run_chunk(specs: list[bytes], root: str) -> list[bytes]:
    """Runs specs (JSON) in a process of their own; the lines of the runs (JSON), in the same order."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.sweep.worker", root],
        input=b"\n".join(specs),
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": HASH_SEED},
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace").strip().splitlines()[-1:] or "no word of why")
    return done.stdout.splitlines()
