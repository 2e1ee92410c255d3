"""How a record was lost, in one clause: what befell who had it, who took over without it, who truncated it."""

from __future__ import annotations

from collections.abc import Sequence

from checkers.log.replicas import Loss, Replicas, Truncation
from checkers.narrative import STATE, befell, names, seconds
from checkers.outages import SILENCES, Outage


def cause(loss: Loss, replicas: Replicas, faults: Sequence[Outage], since: int) -> str:
    """`b1 was cut off from b2 at 12.411 s, b2 became leader of epoch 4 …, and b1 truncated 18 to 17 at 13.020 s`."""
    parts = [
        *_blow(loss, replicas, faults, since),
        _takeover(loss, faults, since),
        *([_cut(loss.truncations)] if loss.truncations else []),
    ]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"


def _blow(loss: Loss, replicas: Replicas, faults: Sequence[Outage], since: int) -> list[str]:
    """The last fault that silenced the holder before another led; none where it was hit by none."""
    peers = [n for n in replicas.nodes if n != loss.holder]
    hit = [
        f
        for f in faults
        if f.kind in SILENCES
        and f.overlaps(since, loss.takeover.time)
        and (loss.holder in f.targets or f.cut_from(loss.holder, peers))
    ]
    return [befell(max(hit, key=lambda f: f.start), loss.holder, peers)] if hit else []


def _takeover(loss: Loss, faults: Sequence[Outage], since: int) -> str:
    """With the power that it had lost in between: a log may come back from that shorter."""
    led = loss.takeover
    again = " again" if led.node == loss.holder else ""
    how = ", elected uncleanly," if led.unclean else ""
    dark = [f for f in faults if f.kind == "power" and led.node in f.targets and since <= f.start <= led.time]
    if dark and led.node != loss.holder:
        how = f", which had lost power at {seconds(dark[-1].start)},"
        how += " was elected uncleanly and" if led.unclean else ""
    log = (
        f"with end offset {led.start}"
        if led.start <= loss.offset
        else f"with another log from offset {loss.parted} on"
    )
    return f"{led.node}{how} became leader{again} of epoch {led.epoch} {log} at {seconds(led.time)}"


def _cut(truncations: Sequence[Truncation]) -> str:
    last = max(truncations, key=lambda t: t.time)
    who = names(list(dict.fromkeys(t.node for t in truncations)))
    at = f"at {seconds(last.time)}" if len(truncations) == 1 else f"by {seconds(last.time)}"
    same = len({t.was for t in truncations}) == 1
    return f"{who} truncated {f'{last.was} to {last.end}' if same else f'to {last.end}'} {at}"


def meanwhile(loss: Loss, replicas: Replicas, faults: Sequence[Outage], at: int) -> str:
    """` while b2 and b3 were paused`: the other replicas that could not take part when it was acknowledged. What
    befell the holder itself stands in `cause`."""
    states: dict[str, list[str]] = {}
    for node in replicas.nodes:
        if node == loss.holder:
            continue
        for fault in faults:
            hit = node in fault.targets and loss.holder not in fault.targets
            if fault.kind in STATE and hit and fault.covers(at):
                states.setdefault(STATE[fault.kind], []).append(node)
                break
    told = [f"{names(who)} {'were' if len(who) > 1 else 'was'} {state}" for state, who in states.items()]
    return f" while {' and '.join(told)}" if told else ""
