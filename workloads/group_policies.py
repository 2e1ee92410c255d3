"""When a member of a group commits what it has read, beside when it processes it: workload `group`'s policies."""

from __future__ import annotations

from harness.settings import Setting

COMMIT_BEFORE = "commit-before"
COMMIT_AFTER = "commit-after"
AUTO_COMMIT = "auto-commit"
AUTO_COMMIT_ASYNC = "auto-commit-async"
EOS = "eos"
FENCED = "fenced"
POLICIES = (COMMIT_AFTER, COMMIT_BEFORE, AUTO_COMMIT, AUTO_COMMIT_ASYNC, EOS)


def _probability(name: str, default: float, doc: str) -> Setting:
    return Setting(name=name, default=default, doc=doc, scope="workload", minimum=0, maximum=1)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="group.policy",
        default=COMMIT_AFTER,
        doc="Offsets are committed before or after processing; from time to time by the next poll, with processing done "
        "or still going on by then; or in the transaction that writes the effects",
        scope="workload",
        choices=POLICIES,
    ),
    Setting(
        name="group.once",
        default=False,
        doc="The application bears no repetition: processing a record more than once is an anomaly under every policy, "
        "not only under eos, which excludes it",
        scope="workload",
    ),
    Setting(
        name="group.lock",
        default="none",
        doc="Whether the application takes ownership of a partition for a lock: it must not process in a generation after "
        "somebody has in a younger one. `fenced`: the store of effects sees to that, with the generation as its token",
        scope="workload",
        choices=("none", "ownership", FENCED),
    ),
    Setting(
        name="group.partitions",
        default=4,
        doc="Partitions of topic events; members beyond them are idle",
        scope="workload",
        minimum=1,
        maximum=1_000,
    ),
    Setting(
        name="group.grow.to",
        default=0,
        doc="Partitions that topic events has in the end: one more after every so many sends; 0: it stays as it is",
        scope="workload",
        minimum=0,
        maximum=1_000,
    ),
    Setting(
        name="group.batch.records",
        default=20,
        doc="Records that one poll takes at most",
        scope="workload",
        minimum=1,
        maximum=10_000,
    ),
    Setting(
        name="group.record.ms",
        default=5,
        doc="What processing a record takes; while members drain, in the end, nothing",
        scope="workload",
        minimum=0,
        maximum=60_000,
    ),
    Setting(
        name="group.static",
        default=False,
        doc="Members have names (group.instance.id): who comes back within its session takes up its partitions again",
        scope="workload",
    ),
    Setting(
        name="auto.commit.interval.ms",
        default=1_000,
        doc="How often a poll commits what the polls before it had returned (the auto-commit policies)",
        scope="workload",
        minimum=1,
        maximum=600_000,
    ),
    Setting(
        name="group.away.max.ms",
        default=4_000,
        doc="How long a member that left or died stays away at most",
        scope="workload",
        minimum=0,
        maximum=600_000,
    ),
    Setting(
        name="group.break.ms",
        default=0,
        doc="In the middle of the run everybody leaves, for so long: the group has no members, and records pile up",
        scope="workload",
        minimum=0,
        maximum=3_600_000,
    ),
    _probability("group.crash.probability", 0.02, "Share of turns in which a member dies without a word"),
    _probability("group.leave.probability", 0.01, "Share of turns after which a member says goodbye"),
    _probability(
        "group.stall.probability",
        0.01,
        "Share of turns in which a member's processing hangs, up to longer than max.poll.interval.ms",
    ),
)
