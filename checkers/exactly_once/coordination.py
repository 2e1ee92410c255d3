"""What coordinators said of a transaction: the events of its transactional id while it ran and until it was settled."""

from __future__ import annotations

from collections.abc import Sequence

from checkers.log.observations import Observations
from checkers.narrative import event_sentence
from checkers.story import COLOUR, TELLING, Beat
from harness.node import NodeEvent
from harness.ops import Operation
from harness.results import Moment

SETTLED_NS = 2_000_000_000
"""How long after its last word a decision is still about this transaction, unless its id begins another."""
FINAL_STATES = frozenset({"CompleteCommit", "CompleteAbort"})


def transactional_id(seen: Observations, transfer: Operation) -> str | None:
    """As its process told it; of one that died before, as the others of the same pipeline told it, if all
    told the same."""
    own = _told(transfer)
    if own is not None:
        return own
    others = {
        told
        for other in seen.operations
        if other.f == "transfer"
        and other.invoke.key == transfer.invoke.key
        and (told := _told(other)) is not None
    }
    return others.pop() if len(others) == 1 else None


def _told(transfer: Operation) -> str | None:
    for op in (transfer.completion, transfer.invoke):
        if op is not None and "transactional_id" in op.extra:
            return str(op.extra["transactional_id"])
    return None


def transaction_events(
    events: Sequence[NodeEvent], seen: Observations, transfer: Operation
) -> list[NodeEvent]:
    """From the first decision after its beginning to the end of that, and whatever refused it; nothing of the
    transactions before and after under the same id."""
    name = transactional_id(seen, transfer)
    if name is None:
        return []
    done = transfer.completion.time if transfer.completion is not None else seen.history.end_ns
    following = next(
        (
            other.start
            for other in seen.operations
            if other.f == "transfer"
            and other.invoke.index > transfer.invoke.index
            and other.start >= done
            and transactional_id(seen, other) == name
        ),
        done + SETTLED_NS,
    )
    until = min(done + SETTLED_NS, following)
    own = [e for e in events if e.fields.get("transactional_id") == name and transfer.start <= e.time]
    found: list[NodeEvent] = []
    decided = False
    for event in own:
        final = event.fields.get("state") in FINAL_STATES
        if event.time > until and not (decided and final):
            break
        if final and not decided:
            continue
        found.append(event)
        decided = (
            decided or event.kind == "txn-aborted" or str(event.fields.get("state")).startswith("Prepare")
        )
        if final:
            break
    return found


def transaction_beats(events: Sequence[NodeEvent]) -> list[Beat]:
    """`events` of one transaction. An abort is told with its reason, which an event of its own says."""
    aborted = {e.time for e in events if e.kind == "txn-aborted"}
    return [
        Beat(
            Moment(event.time, event_sentence(event), node=event.node),
            COLOUR if event.fields.get("state") in FINAL_STATES else TELLING,
        )
        for event in events
        if event.fields.get("state") != "PrepareAbort" or event.time not in aborted
    ]


def coordinator(events: Sequence[NodeEvent]) -> str | None:
    """Who decided it; None where it was not said, or more than one did."""
    nodes = {e.node for e in events if e.kind in ("txn-state", "txn-aborted")}
    return nodes.pop() if len(nodes) == 1 else None
