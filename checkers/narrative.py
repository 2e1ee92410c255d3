"""The words in which checkers tell what happened: faults, and what nodes report of themselves.

The kinds of node events are a system's own words. What is not in the vocabulary here is told by its kind and
fields, so that a system nobody here knows of still has a story.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from checkers.outages import Outage
from harness.node import NodeEvent

NS = 1_000_000_000
LONGEST = 60
MOST_NAMES = 4


def seconds(time_ns: int) -> str:
    return f"{time_ns / NS:.3f} s"


def quoted(value: Any) -> str:
    """A value of the history as it stands in a sentence: `3:42`."""
    text = str(value[1]) if isinstance(value, tuple) else str(value)
    return f"`{text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'}`"


def names(found: Sequence[str]) -> str:
    """`b1`, `b1 and b2`, `b1, b2 and b3`, `b1, b2, b3 and 4 more`."""
    told = list(found) if len(found) <= MOST_NAMES else [*found[: MOST_NAMES - 1], f"{len(found) - 3} more"]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def share(part: int, whole: int) -> str:
    """`1.1 %`, never rounded down to nothing."""
    percent = 100 * part / whole
    return "under 0.1 %" if percent < 0.1 else f"{percent:.3g} %"


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────


def begins(outage: Outage) -> str:
    """`b1 and b2 are paused`."""
    who, several = names(outage.targets), len(outage.targets) > 1
    params = dict(outage.params)
    match outage.kind:
        case "kill":
            return f"{who} {'are' if several else 'is'} killed"
        case "power":
            return f"{who} {'lose' if several else 'loses'} power"
        case "pause":
            return f"{who} {'are' if several else 'is'} paused"
        case "partition":
            return _split(who, several, params)
        case "clock":
            offset = params.get("offset_ms")
            moved = f" by {offset} ms" if offset else ""
            return f"the clock{'s' if several else ''} of {who} {params.get('mode', 'change')}{'' if several else 's'}{moved}"
        case "slow":
            return f"the network of {who} becomes slow ({params.get('latency_ms', '?')} ms)"
        case "cpu":
            return f"{who} {'get' if several else 'gets'} {params.get('cores', '?')} of a processor"
        case "memory":
            return f"{who} {'get' if several else 'gets'} no more memory"
        case "promote":
            return f"{who} {'are' if several else 'is'} told to become the primary"
        case kind:
            return f"{kind} hits {who}"


def _split(who: str, several: bool, params: Mapping[str, Any]) -> str:
    shape, verb = params.get("shape", "isolate"), "are" if several else "is"
    how = {"drop": "", "reject": ", connections are refused", "hold": ", messages are held back"}
    one_way = {"in": " (nothing reaches it)", "out": " (nothing leaves it)"}.get(
        str(params.get("direction")), ""
    )
    manner = how.get(str(params.get("how", "drop")), "")
    match shape:
        case "isolate":
            return f"{who} {verb} cut off from the others{one_way}{manner}"
        case "peers":
            return f"{who} {verb} cut off from the other servers of the same role{one_way}{manner}"
        case "clients":
            return f"{who} {verb} cut off from the clients{one_way}{manner}"
        case "halves":
            return f"the network is split, {who} on one side{manner}"
        case _:
            return f"the network is cut in the shape of a {shape} around {who}{manner}"


def ends(outage: Outage) -> str:
    """`b1 and b2 run again`."""
    who, several = names(outage.targets), len(outage.targets) > 1
    match outage.kind:
        case "kill" | "power":
            return f"{who} {'are' if several else 'is'} started again"
        case "pause":
            return f"{who} {'run' if several else 'runs'} again"
        case "partition":
            return f"the network around {who} is healed"
        case "clock":
            return f"the clock{'s' if several else ''} of {who} {'are' if several else 'is'} set right"
        case kind:
            return f"{kind} of {who} ends"


def befell(outage: Outage, node: str, peers: Sequence[str]) -> str:
    """What the fault did to one node, in the past: `b1 was cut off from b2 and b3 at 12.411 s`."""
    when = f"at {seconds(outage.start)}"
    match outage.kind:
        case "kill":
            return f"{node} was killed {when}"
        case "power":
            return f"{node} lost power {when}"
        case "pause":
            return f"{node} was paused {when}"
        case "partition":
            lost = outage.cut_from(node, peers)
            return f"{node} was cut off{f' from {names(lost)}' if lost else ''} {when}"
        case kind:
            return f"{node} was hit by {kind} {when}"


STATE = {"kill": "down", "power": "without power", "pause": "paused", "partition": "cut off"}


# ── node events ──────────────────────────────────────────────────────────────────────────────────────

_Words = Callable[[str, Mapping[str, Any]], str]


def event_sentence(event: NodeEvent) -> str:
    words = VOCABULARY.get(event.kind)
    if words is not None:
        try:
            return words(event.node, event.fields)
        except (KeyError, TypeError, ValueError):
            pass
    fields = ", ".join(f"{k} {_plain(v)}" for k, v in event.fields.items())
    return f"{event.node}: {event.kind}" + (f" ({fields})" if fields else "")


def _partition_changed(node: str, f: Mapping[str, Any]) -> str:
    where, isr = f["partition"], _plain(f.get("isr") or ["nobody"])
    match f.get("reason"):
        case "leader-lost":
            return f"{node} (controller) finds no leader for {where}: in sync was {isr}"
        case "unclean-elected":
            return (
                f"{node} (controller) elects {f['leader']} uncleanly as leader of {where}, epoch {f['leader_epoch']}: "
                "it may lack records"
            )
        case "leader-elected" | "elr-elected" | "recovered":
            return f"{node} (controller) makes {f['leader']} leader of {where}, epoch {f['leader_epoch']}; in sync: {isr}"
        case "isr-shrunk":
            return f"{node} (controller) takes replicas of {where} out of the in-sync set: left is {isr}"
        case "isr-expanded":
            return f"{node} (controller) adds to the in-sync set of {where}: now {isr}"
        case "elr-changed":
            able = _plain(f.get("elr") or ["nobody"])
            return f"{node} (controller) counts as eligible leaders of {where} beside those in sync: {able}"
        case "created":
            return f"{node} (controller) creates {where}: leader {f['leader']}, in sync {isr}"
        case reason:
            leader = f["leader"] if f["leader"] is not None else "nobody"
            return f"{node} (controller) changes {where} ({reason}): leader {leader}, epoch {f['leader_epoch']}, in sync {isr}"


def _truncated(node: str, f: Mapping[str, Any]) -> str:
    after = f", to match {f['leader']}, leader of epoch {f['leader_epoch']}" if "leader_epoch" in f else ""
    return f"{node} truncates {f['partition']} from end offset {f['was']} to {f['end']}{after}"


def _recovery_decided(node: str, f: Mapping[str, Any]) -> str:
    """`logs`: broker -> [last leader epoch, end offset]."""
    logs = [f"{broker} ends at {end} in epoch {epoch}" for broker, (epoch, end) in f["logs"].items()]
    return (
        f"{node} (controller) compares the logs of {f['partition']}: {names(logs)}; {f['leader']} is to lead"
    )


def _coordinator_loaded(node: str, f: Mapping[str, Any]) -> str:
    resumed = f.get("resumed") or []
    tail = ""
    if resumed and f["coordinator"] == "groups":
        tail = f", with what {_plain(resumed)} had committed"
    elif resumed:
        tail = f", and finds {_plain(resumed)} in the middle of ending a transaction"
    return f"{node} becomes coordinator ({f['coordinator']}, partition {f['partition']}, epoch {f['epoch']}){tail}"


STATES = {
    "Ongoing": "has a transaction of {id} under way",
    "PrepareCommit": "decides to commit the transaction of {id}",
    "CompleteCommit": "has committed the transaction of {id} everywhere",
    "PrepareAbort": "decides to abort the transaction of {id}",
    "CompleteAbort": "has aborted the transaction of {id} everywhere",
    "PrepareEpochFence": "fences the older producer of {id}",
}


def _txn_state(node: str, f: Mapping[str, Any]) -> str:
    words = STATES.get(str(f["state"]), "has the transaction of {id} in state " + str(f["state"]))
    return f"{node} (coordinator) {words.format(id=f['transactional_id'])} (producer epoch {f['epoch']})"


def _txn_aborted(node: str, f: Mapping[str, Any]) -> str:
    why = {
        "client": "as its client asked",
        "timeout": "because it ran out of time",
        "fence": "because a new producer took its place",
    }
    return f"{node} (coordinator) aborts the transaction of {f['transactional_id']}, {why.get(str(f['reason']), f['reason'])}"


def _producer_fenced(node: str, f: Mapping[str, Any]) -> str:
    if "transactional_id" not in f:
        return f"{node} refuses a producer of {f['partition']} as fenced ({f.get('detail', 'no detail')})"
    return (
        f"{node} (coordinator) refuses {f.get('request', 'a request')} of {f['transactional_id']} at producer epoch "
        f"{f['epoch']}: it is fenced by epoch {f['current_epoch']}"
    )


_BEGUN = {
    "time": "retention by time",
    "size": "retention by size",
    "leader": "as its leader does",
    "request": "somebody asked for it",
}

VOCABULARY: Mapping[str, _Words] = {
    "partition-changed": _partition_changed,
    "leader-elected": lambda n, f: (
        f"{n} leads {f['partition']} from epoch {f['leader_epoch']} on; its log ends at offset {f['epoch_start']}"
    ),
    "recovery-decided": _recovery_decided,
    "follower": lambda n, f: f"{n} follows {f['leader']} in {f['partition']}, epoch {f['leader_epoch']}",
    "truncated": _truncated,
    "log-start-advanced": lambda n, f: (
        f"{n} lets {f['partition']} begin at offset {f['start']} instead of {f['was']} ({_BEGUN.get(str(f['reason']), f['reason'])})"
    ),
    "segment-deleted": lambda n, f: (
        f"{n} removes {f['segments']} segment{'' if f['segments'] == 1 else 's'} of {f['partition']}, "
        f"which begins at offset {f['start']}"
    ),
    "partition-deleted": lambda n, f: f"{n} deletes {f['partition']}, which ended at offset {f['end']}",
    "log-compacted": lambda n, f: (
        f"{n} compacts {f['partition']} up to offset {f['until']}: {f['removed']} records go"
    ),
    "compaction-failed": lambda n, f: f"{n} cannot compact {f['partition']} ({f['error']})",
    "log-dir-failed": lambda n, f: f"{n} cannot write its log and halts ({f['error']})",
    "isr-shrunk": lambda n, f: f"{n} (leader) has {f['partition']} in sync on {_plain(f['isr'])} only",
    "isr-expanded": lambda n, f: f"{n} (leader) has {f['partition']} in sync on {_plain(f['isr'])}",
    "duplicate-recognised": lambda n, f: (
        f"{n} recognises a batch that was sent again, and answers with its offset {f['offset']} in {f['partition']}"
    ),
    "late-request": lambda n, f: f"{n} gets a late request for {f['partition']}: {f['what']}",
    "broker-fenced": lambda n, f: f"{n} (controller) takes {f['broker']} out of service",
    "broker-unfenced": lambda n, f: f"{n} (controller) puts {f['broker']} into service",
    "broker-registered": lambda n, f: (
        f"{n} (controller) registers {f['broker']}"
        + ("" if f["clean"] else ", which had not been shut down cleanly")
    ),
    "broker-started": lambda n, f: f"{n} starts" + (" again" if f["incarnation"] else ""),
    "exited": lambda n, f: f"{n} ends by itself" + (f": {f['error']}" if "error" in f else ""),
    "controller-elected": lambda n, f: f"{n} becomes controller, epoch {f['epoch']}",
    "coordinator-loaded": _coordinator_loaded,
    "coordinator-unloaded": lambda n, f: (
        f"{n} is coordinator no more ({f['coordinator']}, partition {f['partition']})"
    ),
    "txn-state": _txn_state,
    "txn-aborted": _txn_aborted,
    "producer-fenced": _producer_fenced,
    "client-throttled": lambda n, f: (
        f"{n} lets client {f['client']} wait {f['throttle_ms']} ms for its {f['quota']}"
    ),
    "commit-fenced": lambda n, f: (
        f"{n} (coordinator) refuses an offset commit as fenced ({f.get('error', 'no detail')})"
    ),
    "group-generation": lambda n, f: (
        f"{n} (coordinator) begins generation {f['generation']} of group {f['group']}, "
        f"{len(f['members'])} member{'' if len(f['members']) == 1 else 's'}"
    ),
    "group-member-reconciled": lambda n, f: (
        f"{n} (coordinator) lets {f['member']} of group {f['group']} have {_plain(f['assigned']) or 'nothing'} in epoch "
        f"{f['epoch']}"
        + (f", and waits until it has given up {_plain(f['revoking'])}" if f["revoking"] else "")
    ),
    "group-member-expired": lambda n, f: (
        f"{n} (coordinator) gives a member of group {f['group']} up: no heartbeat"
    ),
    "group-member-replaced": lambda n, f: (
        f"{n} (coordinator) lets a member of group {f['group']} take up the place of {f['instance']}"
    ),
    "group-offsets-expired": lambda n, f: (
        f"{n} (coordinator) forgets offsets of group {f['group']}: {', '.join(f['partitions'])}"
    ),
    "internal-error": lambda n, f: f"{n} had an error of its own: {f['detail']}",
}


def _plain(value: Any) -> str:
    return " ".join(str(v) for v in value) if isinstance(value, (list, tuple)) else str(value)
