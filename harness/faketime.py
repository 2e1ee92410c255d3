"""The wall clock of a program that we did not write, moved with libfaketime's thread-safe build.

The library is loaded before the program's own and answers for the C library's clocks; it reads how far to move them
from a file, at every question. Offsets only: a program would also sleep at another rate. Not every program can be
moved: one that asks the kernel itself (Go), or whose allocator asks for the time before the library is ready
(jemalloc), cannot. So it is probed before a run begins.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from harness.cluster import Cluster, Evidence
from harness.errors import UserError
from harness.settings import Setting
from harness.system import Foreign, TellsTime

PLACES = (Path("/usr/lib"), Path("/usr/local/lib"), Path("/opt/homebrew/lib"))
NAME = "faketime/libfaketimeMT.so.1"
PROBE_S = 1_000.0
TOLERANCE_S = 1.0

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


def check_fakeable(name: str, system: object, config: Mapping[str, object], kinds: frozenset[str]) -> None:
    """Raises `UserError` where a clock is to be moved that is not ours, and the run is not prepared for it."""
    if "clock" not in kinds or not isinstance(system, Foreign):
        return
    if SETTING.name not in config or not isinstance(system, TellsTime):
        raise UserError(f"system '{name}' is a program whose clock cannot be moved: leave out clock faults")
    if not config[SETTING.name]:
        raise UserError(f"system '{name}' must run under libfaketime for clock faults: give --set faketime=true")


class FakedClock:
    """Of one node. `file` is what its program reads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._library = library()
        if self._library is None:
            raise UserError("libfaketime is not on this machine: apt-get install libfaketime")
        self.set(0.0)

    def set(self, offset_ms: float) -> None:
        """Another file in its place, so that no half of it is ever read."""
        scratch = self._file.with_suffix(".new")
        scratch.write_text(f"{offset_ms / 1000:+.6f}\n")
        scratch.replace(self._file)

    def environment(self) -> dict[str, str]:
        """What the program must be started with."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }


async def moved(system: TellsTime, cluster: Cluster, node: str, *, offset_ms: float) -> Evidence:
    """By the program's own word, whether its clock is ahead by so much."""
    before = time.time()
    try:
        said = await system.wall_clock(cluster, node)
    except (OSError, TimeoutError) as error:
        return Evidence(None, f"{node} does not tell its time: {type(error).__name__}: {error}")
    ahead_s = said - (before + time.time()) / 2
    return Evidence(
        abs(ahead_s - offset_ms / 1000) <= TOLERANCE_S, f"the clock of {node} is {ahead_s:+.3f} s ahead"
    )


async def probe(system: TellsTime, cluster: Cluster, node: str, clock: FakedClock) -> None:
    """Raises `UserError` where the program does not follow the library."""
    clock.set(PROBE_S * 1000)
    evidence = await moved(system, cluster, node, offset_ms=PROBE_S * 1000)
    clock.set(0.0)
    if evidence.verified is not True:
        raise UserError(
            f"libfaketime does not move the clock of this program ({evidence.detail} where {PROBE_S:+g} s were "
            "asked for): leave out clock faults and --set faketime"
        )
