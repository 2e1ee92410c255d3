"""What a harness asks of a node that runs as a process: lines of JSON on its standard input.

The node does it at once. `Clock`, `Disk` and `Delay` are states, and are told again to every new process of a node;
`Arm` holds the process (SIGSTOP) when it reaches a step, and an event `STEP_REACHED` says so: whoever armed it acts,
and lets it go on (SIGCONT) if it is still to live.
"""

from __future__ import annotations

import time
from typing import TypeAlias

import msgspec

STEP_REACHED = "step-reached"
"""No event of the system's: nobody but the backend hears of it. Field `step`."""
REPORTED = "reported"
"""Neither is this."""


class Clock(msgspec.Struct, frozen=True, tag="clock"):
    """Wall clock = true time + offset, at `rate` since `since_ns` of the machine's monotonic clock."""

    offset_ms: float
    rate: float
    since_ns: int


class Disk(msgspec.Struct, frozen=True, tag="disk"):
    full: bool = False
    latency_ms: float = 0.0
    jitter_ms: float = 0.0


class Delay(msgspec.Struct, frozen=True, tag="delay"):
    source: str
    target: str
    kind: str
    latency_ms: float
    jitter_ms: float


class Arm(msgspec.Struct, frozen=True, tag="arm"):
    step: str
    armed: bool


class Report(msgspec.Struct, frozen=True, tag="report"):
    """Asks for an event `REPORTED` with this `number`, `clock_off_ms`, `disk_full` and `fsync_ms`."""

    number: int


Request: TypeAlias = Clock | Disk | Delay | Arm | Report
_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


class Standing:
    """What was asked of a node and holds for every later process of it, until something else is asked."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, ...], Request] = {}

    def note(self, request: Request) -> None:
        match request:
            case Clock() | Disk():
                self._requests[str(type(request).__struct_config__.tag),] = request
            case Delay():
                self._requests["delay", request.source, request.target, request.kind] = request
            case Arm(step, armed):
                if armed:
                    self._requests["arm", step] = request
                else:
                    self._requests.pop(("arm", step), None)

    @property
    def requests(self) -> list[Request]:
        return list(self._requests.values())

    @property
    def disk(self) -> Disk:
        disk = self._requests.get(("disk",), Disk())
        assert isinstance(disk, Disk)
        return disk

    @property
    def clock(self) -> Clock | None:
        """None: never moved."""
        clock = self._requests.get(("clock",))
        assert clock is None or isinstance(clock, Clock)
        return clock


def encode(request: Request) -> bytes:
    return msgspec.json.encode(request) + b"\n"


def decode(line: bytes) -> Request:
    """Raises `msgspec.MsgspecError`."""
    return _decoder.decode(line)


class SkewedClock:
    """`harness.node.WallClock` of a real process."""

    def __init__(self) -> None:
        self._state = Clock(0.0, 1.0, time.monotonic_ns())

    def set(self, state: Clock) -> None:
        self._state = state

    def time_ns(self) -> int:
        return time.time_ns() + self.off_ns

    @property
    def off_ns(self) -> int:
        """How far it is from the truth now."""
        state = self._state
        drifted_ns = (time.monotonic_ns() - state.since_ns) * (state.rate - 1.0)
        return round(state.offset_ms * 1e6 + drifted_ns)
