"""What `--set` understands, and the profiles: named sets of it, a rung of the ladder of guarantees each."""

from __future__ import annotations

from collections.abc import Mapping

from harness.settings import Setting, Value

MAX_WEIGHT = 64
LEVELS = ("ANY", "ONE", "QUORUM", "ALL")

SETTINGS: tuple[Setting, ...] = (
    Setting(name="replication.factor", default=3, minimum=1, scope="store", doc="N: nodes that keep a key"),
    Setting(
        name="read.quorum",
        default="QUORUM",
        scope="store",
        doc="R: replicas that answer a read: a number, ONE, QUORUM or ALL",
    ),
    Setting(
        name="write.quorum",
        default="QUORUM",
        scope="store",
        doc="W: replicas that have a write on disk: a number, ANY (a hint counts), ONE, QUORUM or ALL",
    ),
    Setting(
        name="sloppy.quorum",
        default=False,
        scope="store",
        doc="Fallback nodes stand in for replicas that are down, and count towards W",
    ),
    Setting(
        name="conflict",
        default="abd",
        choices=("lww", "abd", "raft"),
        scope="store",
        doc="Registers: wall clocks (last write wins), tags read from a quorum (ABD), or consensus per key range",
    ),
    Setting(
        name="consensus.ranges",
        default=4,
        minimum=1,
        maximum=999,
        scope="store",
        doc="conflict=raft: parts of the token circle, a Raft group of N nodes each",
    ),
    Setting(
        name="consensus.election.timeout.ms",
        default=600.0,
        minimum=10,
        scope="store",
        doc="conflict=raft: least time without a leader before an election",
    ),
    Setting(
        name="read.repair",
        default="blocking",
        choices=("none", "async", "blocking"),
        scope="store",
        doc="Stale replicas that a read meets are mended: never, after the answer, or before it, by W of them",
    ),
    Setting(
        name="lww.resolution.ms",
        default=0.0,
        minimum=0,
        scope="store",
        doc="Coarseness of timestamps; 0: nanoseconds",
    ),
    Setting(
        name="lww.tie",
        default="unique",
        choices=("unique", "value"),
        scope="store",
        doc="Equal timestamps are decided by a unique tie-break of the write, or column by column by the value",
    ),
    Setting(
        name="hinted.handoff.enabled",
        default=True,
        scope="store",
        doc="A write that a replica misses is kept for it",
    ),
    Setting(
        name="max.hint.window.ms",
        default=60_000,
        minimum=0,
        scope="store",
        doc="No hints for a node that has been down for longer",
    ),
    Setting(
        name="hinted.handoff.per.second",
        default=0,
        minimum=0,
        scope="store",
        doc="Hints that a node delivers in a second, so that nobody who comes back is flooded; 0: as fast as it can",
    ),
    Setting(
        name="anti.entropy.interval.ms",
        default=1_000,
        minimum=0,
        scope="store",
        doc="How often a node compares itself with the next peer; 0: never",
    ),
    Setting(
        name="gc.grace.ms",
        default=864_000_000,
        minimum=0,
        scope="store",
        doc="Age at which a tombstone may be forgotten",
    ),
    Setting(
        name="tombstone.gc",
        default="repair",
        choices=("time", "repair"),
        scope="store",
        doc="time: at that age; repair: at that age and once every replica is known to have it",
    ),
    Setting(
        name="commitlog.sync",
        default="batch",
        choices=("batch", "periodic"),
        scope="store",
        doc="batch: a write is on disk before it is acknowledged; periodic: within the period",
    ),
    Setting(
        name="commitlog.sync.period.ms",
        default=1_000,
        minimum=1,
        scope="store",
        doc="How often a periodic commit log is synced",
    ),
    Setting(
        name="commitlog.snapshot.bytes",
        default=1 << 18,
        minimum=1024,
        scope="store",
        doc="Size at which the commit log is replaced by a snapshot",
    ),
    Setting(
        name="ring.weights",
        default="",
        scope="store",
        doc="Shares of the ring, as multiples of ring.vnodes: n1=2,n4=0.5; a node that is not named has 1",
    ),
    Setting(name="ring.vnodes", default=16, minimum=1, scope="store", doc="Virtual nodes of a node"),
    Setting(
        name="coordinator.timeout.ms",
        default=2_000,
        minimum=1,
        scope="store",
        doc="How long a coordinator waits for its quorum",
    ),
    Setting(
        name="client.timeout.ms",
        default=5_000,
        minimum=1,
        scope="store",
        doc="How long a client waits for an answer before it goes to another node",
    ),
    Setting(name="gossip.interval.ms", default=250, minimum=1, scope="store", doc="How often a node gossips"),
    Setting(
        name="phi.convict.threshold",
        default=5.0,
        minimum=0.1,
        scope="store",
        doc="Suspicion at which a node counts as down (phi accrual failure detector)",
    ),
)

PROFILES: Mapping[str, Mapping[str, Value]] = {
    "eventual": {"conflict": "lww", "read.quorum": "ONE", "write.quorum": "ONE", "read.repair": "async"},
    "sloppy": {"conflict": "lww", "sloppy.quorum": True},
    "quorum": {"conflict": "lww", "read.repair": "none"},
    "quorum-repair": {"conflict": "lww", "read.repair": "blocking"},
    "abd": {"conflict": "abd", "read.repair": "blocking"},
    "raft": {"conflict": "raft"},
    # Siblings, counters and sets merge by themselves: their writers need no quorum that reads meet.
    "dvv": {"conflict": "lww", "sloppy.quorum": True, "read.repair": "async"},
    "crdt": {"conflict": "lww", "sloppy.quorum": True, "read.repair": "async"},
}


def weights(text: str) -> dict[str, float]:
    """Node -> weight, of the nodes that are named. Raises ValueError."""
    found: dict[str, float] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, weight = part.partition("=")
        found[name] = float(weight)
        if not 0 < found[name] <= MAX_WEIGHT:
            raise ValueError(part)
    return found


def copies(level: str, n: int) -> int:
    """How many replicas a level means. Raises ValueError."""
    match level.upper():
        case "ANY":
            return 1
        case "ONE":
            return 1
        case "QUORUM":
            return n // 2 + 1
        case "ALL":
            return n
    number = int(level)
    if not 1 <= number <= n:
        raise ValueError(level)
    return number
