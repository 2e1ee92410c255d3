"""The settings of the harness itself: how long it waits for what, and how much is done."""

from __future__ import annotations

from harness.settings import Setting

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="op.timeout.ms",
        default=10_000,
        doc="After this an operation without an answer is `info` and its process is retired",
        scope="harness",
        minimum=1,
    ),
    Setting(
        name="ready.timeout.ms",
        default=60_000,
        doc="How long a cluster may take to serve after its start",
        scope="harness",
        minimum=1,
    ),
    Setting(
        name="setup.timeout.ms",
        default=60_000,
        doc="How long the workload may take to prepare topics and first records",
        scope="harness",
        minimum=1,
    ),
    Setting(
        name="recovery.timeout.ms",
        default=60_000,
        doc="How long the cluster may take, after the heal, to be whole again",
        scope="harness",
        minimum=1,
    ),
    Setting(
        name="final.timeout.ms",
        default=120_000,
        doc="How long reading everything back may take at the end",
        scope="harness",
        minimum=1,
    ),
    Setting(
        name="ops.limit",
        default=0,
        doc="Operations of the main phase in all; the faults go on until the time limit. 0: as many as fit",
        scope="harness",
        minimum=0,
    ),
    Setting(
        name="spares",
        default=0,
        doc="Nodes beside --nodes that are not started: for the faults join and replace, where the system has them",
        scope="harness",
        minimum=0,
    ),
    Setting(
        name="membership.timeout.ms",
        default=60_000,
        doc="How long a node may take to join, to leave or to replace another",
        scope="harness",
        minimum=1,
    ),
)
