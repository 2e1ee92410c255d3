"""Settings of the simulated world, under the prefix `sim.`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from harness.settings import Setting

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="sim.latency.min.ms",
        default=0.2,
        doc="shortest one-way delay of a link",
        scope="harness",
        minimum=0.0,
    ),
    Setting(
        name="sim.latency.max.ms",
        default=1.0,
        doc="longest ordinary one-way delay of a link; 2 % of the packets take longer",
        scope="harness",
        minimum=0.0,
    ),
    Setting(
        name="sim.latency.tail.ms",
        default=8.0,
        doc="what the slowest of those 2 % take on top",
        scope="harness",
        minimum=0.0,
    ),
    Setting(
        name="sim.fsync.min.ms", default=1.0, doc="shortest fsync of a disk", scope="harness", minimum=0.0
    ),
    Setting(
        name="sim.fsync.max.ms",
        default=3.0,
        doc="longest ordinary fsync; 2 % take up to ten times as long",
        scope="harness",
        minimum=0.0,
    ),
    Setting(
        name="sim.tcp.user.timeout.ms",
        default=30_000,
        doc="unacknowledged data older than this breaks the sender's connection",
        scope="harness",
        minimum=1,
    ),
    Setting(
        name="sim.tcp.connect.timeout.ms",
        default=60_000,
        doc="a connect across a silent link fails after this",
        scope="harness",
        minimum=1,
    ),
    Setting(
        name="sim.tcp.retransmit.max.ms",
        default=1_000,
        doc="after a heal, stalled bytes are sent again within this time",
        scope="harness",
        minimum=0,
    ),
    Setting(
        name="sim.start.stagger.ms",
        default=20.0,
        doc="nodes start within this time of each other",
        scope="harness",
        minimum=0.0,
    ),
    Setting(
        name="sim.gc.callbacks",
        default=20_000,
        doc="garbage is collected every so many callbacks, and never otherwise",
        scope="harness",
        minimum=1,
    ),
    Setting(
        name="sim.trace",
        default=False,
        doc="write every message and every choice to trace.jsonl in the run folder",
        scope="harness",
    ),
)


class Physics(msgspec.Struct, frozen=True):
    """The same settings as the simulator computes with them: integer nanoseconds."""

    latency_min_ns: int
    latency_max_ns: int
    latency_tail_ns: int
    fsync_min_ns: int
    fsync_max_ns: int
    user_timeout_ns: int
    connect_timeout_ns: int
    retransmit_max_ns: int
    start_stagger_ns: int
    gc_callbacks: int
    trace: bool


def physics(config: Mapping[str, Any]) -> Physics:
    """Reads `sim.*` from a resolved configuration; what is absent takes its default."""
    values = {s.name: config.get(s.name, s.default) for s in SETTINGS}

    def ns(name: str) -> int:
        return round(float(values[name]) * 1_000_000)

    return Physics(
        latency_min_ns=ns("sim.latency.min.ms"),
        latency_max_ns=ns("sim.latency.max.ms"),
        latency_tail_ns=ns("sim.latency.tail.ms"),
        fsync_min_ns=ns("sim.fsync.min.ms"),
        fsync_max_ns=ns("sim.fsync.max.ms"),
        user_timeout_ns=ns("sim.tcp.user.timeout.ms"),
        connect_timeout_ns=ns("sim.tcp.connect.timeout.ms"),
        retransmit_max_ns=ns("sim.tcp.retransmit.max.ms"),
        start_stagger_ns=ns("sim.start.stagger.ms"),
        gc_callbacks=int(values["sim.gc.callbacks"]),
        trace=bool(values["sim.trace"]),
    )
