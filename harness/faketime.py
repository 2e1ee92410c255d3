"""The wall clock of a program that we did not write, moved with libfaketime's thread-safe build.

The library is loaded before the program's own and answers for the C library's clocks; it reads how far to move them
from a file, at every question. Offsets only: a program would also sleep at another rate, so that drift is a row of
small steps. Not every program can be moved: one that asks the kernel itself (Go), or whose allocator asks for the time
before the library is ready (jemalloc), cannot. So it is probed before a run begins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import control
from harness.capabilities import DefiniteFailure
from harness.cluster import Cluster, Evidence, SetsClocks
from harness.errors import UserError
from harness.schedule import Schedule
from harness.settings import Setting
from harness.system import Foreign, TellsTime

PLACES = (Path("/usr/lib"), Path("/usr/local/lib"), Path("/opt/homebrew/lib"))
NAME = "faketime/libfaketimeMT.so.1"
PROBE_S = 1_000.0
TOLERANCE_S = 1.0
HEARD_S = 0.1

SETTING = Setting(
    name="faketime",
    default=False,
    scope="harness",
    doc="Start the program under libfaketime, as faults of its clock need (not on sim)",
)


def library() -> Path | None:
    """Where this machine has it."""
    for place in PLACES:
        for found in sorted([*place.glob(NAME), *place.glob(f"*/{NAME}")]):
            return found
    return None


def needed(system: object, config: Mapping[str, object]) -> bool:
    return isinstance(system, Foreign) and bool(config.get(SETTING.name))


def check_fakeable(
    name: str, system: object, config: Mapping[str, object], schedule: Schedule, backend: object = None
) -> None:
    """Raises `UserError` where a clock is to be moved that is not ours, and the run is not prepared for it."""
    if "clock" not in schedule.kinds or not isinstance(system, Foreign):
        return
    fakeable = SETTING.name in config and isinstance(system, TellsTime)
    if fakeable and config[SETTING.name]:
        return
    if isinstance(backend, SetsClocks) and backend.sets_clocks(config):
        return
    instead = (
        ", or call every host disposable in the inventory, so that its own clock may be set"
        if isinstance(backend, SetsClocks)
        else ""
    )
    if not fakeable:
        raise UserError(
            f"system '{name}' is a program whose clock cannot be moved: leave out clock faults{instead}"
        )
    raise UserError(
        f"system '{name}' must run under libfaketime for clock faults: give --set faketime=true{instead}"
    )


class FakedClock:
    """Of one node. `file` is what its program reads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._library = library()
        if self._library is None:
            raise UserError("libfaketime is not on this machine: apt-get install libfaketime")
        self._state = control.Clock(0.0, 1.0, 0)
        self.update()

    def set(self, state: control.Clock) -> None:
        self._state = state
        self.update()

    @property
    def drifts(self) -> bool:
        """It has to be updated again and again."""
        return self._state.rate != 1.0

    def update(self) -> None:
        """Another file in its place, so that no half of it is ever read."""
        drifted_ms = (time.monotonic_ns() - self._state.since_ns) / 1e6 * (self._state.rate - 1.0)
        offset_ms = self._state.offset_ms + drifted_ms
        scratch = self._file.with_suffix(".new")
        scratch.write_text(f"{offset_ms / 1000:+.6f}\n")
        scratch.replace(self._file)

    def command(self, words: Sequence[str]) -> list[str]:
        """The program's command line with the library loaded. What stands before a lone `--` (`setpriv … --`) is done
        without: the library makes a semaphore that another user could not open afterwards."""
        at = words.index("--") + 1 if "--" in words else 0
        environment = (
            f"LD_PRELOAD={self._library}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )
        return [*words[:at], "env", *environment, *words[at:]]


async def moved(system: object, cluster: Cluster, node: str, *, offset_ms: float) -> Evidence:
    """By the program's own word, whether its clock is ahead by so much."""
    if not isinstance(system, TellsTime):
        return Evidence(None, f"{node} cannot be asked for its time")
    try:
        # The keeper has to hear of it first.
        await asyncio.sleep(HEARD_S)
        said = await system.wall_clock(cluster, node)
    except (OSError, DefiniteFailure) as error:
        return Evidence(None, f"{node} does not tell its time: {type(error).__name__}: {error}")
    ahead_s = said - time.time()
    return Evidence(
        abs(ahead_s - offset_ms / 1000) <= TOLERANCE_S, f"the clock of {node} is {ahead_s:+.3f} s ahead"
    )


async def probe(system: object, cluster: Cluster, nodes: Sequence[str]) -> None:
    """Raises `UserError` where the programs of these nodes do not follow the library. Their clocks are right again
    when it returns."""
    if not isinstance(system, TellsTime):
        return
    for node in nodes:
        evidence = await cluster.skew(node, offset_ms=PROBE_S * 1000)
        await cluster.skew(node, offset_ms=0.0)
        if evidence.verified is not True:
            raise UserError(
                f"libfaketime does not move the clock of this program ({evidence.detail}; {PROBE_S:+g} s were asked "
                "for): leave out clock faults and --set faketime"
            )
