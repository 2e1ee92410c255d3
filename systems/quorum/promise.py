"""What a configuration promises, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from systems.quorum.settings import copies


def promise(config: Mapping[str, Any]) -> str:
    n = int(config["replication.factor"])
    r, w = copies(str(config["read.quorum"]), n), copies(str(config["write.quorum"]), n)
    lasting = "" if config["commitlog.sync"] == "batch" else "; power loss takes what was not synced"
    if config["conflict"] == "raft":
        return "every register is linearizable, compare-and-set included, by consensus per key range"
    if str(config["write.quorum"]).upper() == "ANY":
        return f"a write may exist as a hint only{lasting}"
    if config["sloppy.quorum"]:
        return f"writes survive, but a read may miss them until they are handed off{lasting}"
    if r + w <= n:
        return f"replicas converge; reads may be stale, updates may be lost{lasting}"
    if config["conflict"] == "abd":
        return f"every register is linearizable, whatever clocks say; no read-modify-write{lasting}"
    if config["read.repair"] == "blocking":
        return f"reads are monotone; linearizable only with perfect clocks; no read-modify-write{lasting}"
    return f"a read sees the latest completed write if clocks agree, and may go back in time{lasting}"
