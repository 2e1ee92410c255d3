"""What can be set, mostly under PostgreSQL's own names, and what a configuration promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.settings import Setting
from systems.postgres import STREAMING

PROMISES = {
    "read-committed": "read committed: no dirty write, no dirty read; each statement has its own snapshot",
    "repeatable-read": "snapshot isolation: one snapshot a transaction, the first committer wins; write skew is allowed",
    "serializable": "serializable: serializable snapshot isolation; real time is not promised to transactions that only read",
}
SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="isolation",
        default="serializable",
        choices=tuple(PROMISES),
        scope="client",
        doc="Level that every transaction asks for",
    ),
    Setting(
        name="standby",
        default="none",
        choices=("none", STREAMING),
        scope="server",
        doc="Whether a second server follows the primary's log",
    ),
    Setting(
        name="reads",
        default="primary",
        choices=("primary", "standby"),
        scope="client",
        doc="Whom transactions that only read go to",
    ),
    Setting(
        name="synchronous_commit",
        default="on",
        choices=("off", "local", "on", "remote_apply"),
        scope="server",
        doc="What COMMIT waits for; `off` may lose acknowledged transactions in a crash",
    ),
    Setting(
        name="synchronous_standby_names",
        default="none",
        choices=("none", "any"),
        scope="server",
        doc="`any`: COMMIT waits for the standby, too, where synchronous_commit is on or remote_apply",
    ),
    Setting(
        name="recovery_min_apply_delay",
        default=0,
        minimum=0,
        scope="server",
        doc="Milliseconds by which the standby shows everything late",
    ),
)


def promise(config: Mapping[str, Any]) -> str:
    told = PROMISES[str(config["isolation"])]
    if config["reads"] == "standby":
        told = told.replace("snapshot isolation", "parallel snapshot isolation")
        told += (
            "; a standby's reads may be old, and see independent transactions in another order (long fork)"
        )
    if config["synchronous_commit"] == "off":
        told += "; a crash may lose acknowledged commits"
    if config["standby"] == STREAMING and not waits_for_standby(config):
        told += "; a failover may lose acknowledged commits"
    return told


def waits_for_standby(config: Mapping[str, Any]) -> bool:
    return config["synchronous_standby_names"] == "any" and config["synchronous_commit"] in (
        "on",
        "remote_apply",
    )
