"""Anomalies as a person reads them: grouped by name, the worst first, each with its numbered story.

The story merges the checker's moments with the beginning and end of the operations that prove the
anomaly; the picture (`reports.space_time`) and the list share its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.ops import Operation
from reports.cycles import CyclePicture, cycle_picture
from reports.faults import Band
from reports.offsets import Strip, is_sweep, strip
from reports.operations import by_index, details, shorten, summary
from reports.pictures import InputPicture, ReplicaPicture, input_picture, replica_picture
from reports.space_time import Diagram, diagram

WORST_FIRST = (
    "lost-write",
    "vanished-read",
    "inconsistent-offsets",
    "eos-loss",
    "eos-duplicate",
    "torn-txn",
    "aborted-read",
    "precommitted-read",
    "duplicate",
    "offset-regression",
    "phantom-read",
    "nonlinearizable",
    "lost-update",
    "unseen",
)
"""What is not named here comes after these, by name."""

BLAME = {
    "server": "the servers broke their promise",
    "client": "the client library is known for it",
    "configuration": "these settings permit it",
    "workload": "the application is written so that it can happen",
    "harness": "the test itself is at fault",
}
"""Whose it is -> what that means."""

SHOWN_IN_FULL = 12
"""Of one name; the rest is listed by its sentence only."""
MOST_OPS = 40
MOST_STEPS = 30
MOST_TARGETS = 3
"""A fault that hit more nodes is told without a mark on each."""


class Step(msgspec.Struct, frozen=True):
    """One line of the story. `time` is microseconds; `op` a history index; `process` and `nodes` are who, `node` the
    one that said it or answered. `named`: the text does not say which node, so that the page must."""

    number: int
    time: int
    text: str
    op: int | None = None
    process: str | None = None
    node: str | None = None
    nodes: tuple[str, ...] = ()
    named: bool = False
    arrives: bool = False
    """With both a process and a node: whether the message went to the process."""


class WitnessOp(msgspec.Struct, frozen=True):
    index: int
    process: str
    f: str
    outcome: str
    start: int
    end: int | None
    text: str
    fields: list[tuple[str, str]]


class Witness(msgspec.Struct, frozen=True):
    """One anomaly. `number` is its place on the page: `#anomaly-N`."""

    number: int
    name: str
    summary: str
    blame: str
    blame_means: str
    where: str | None
    affected: int
    out_of: int | None
    allowed: bool
    faults: list[str]
    story: list[Step]
    ops: list[WitnessOp]
    more_ops: int
    start: int
    end: int
    diagram: Diagram | None
    strip: Strip | None
    replicas: ReplicaPicture | None
    inputs: InputPicture | None
    cycle: CyclePicture | None
    data: str | None


class Group(msgspec.Struct, frozen=True):
    name: str
    definition: str
    allowed: bool
    count: int
    affected: int
    witnesses: list[Witness]
    others: list[tuple[int, str]]
    """(number, sentence) of those that are not shown in full."""


class Evidence(msgspec.Struct, frozen=True):
    """What a run offers to explain an anomaly with: operations and fault bands, by the history index of each
    of their events, and the reads that say from where to where they went."""

    operations: Mapping[int, Operation]
    bands: Mapping[int, Band]
    sweeps: Sequence[Operation]


def evidence(operations: Sequence[Operation], bands: Sequence[Band]) -> Evidence:
    return Evidence(
        by_index(operations),
        {index: band for band in bands for index in band.events},
        [o for o in operations if is_sweep(o)],
    )


def groups(
    anomalies: Sequence[Mapping[str, Any]], shown: Evidence, definitions: Mapping[str, str]
) -> list[Group]:
    """`anomalies` as `result.json` has them."""
    by_name: dict[tuple[bool, str], list[Mapping[str, Any]]] = {}
    for anomaly in anomalies:
        key = (bool(anomaly.get("allowed")), str(anomaly.get("name", "?")))
        by_name.setdefault(key, []).append(anomaly)
    made: list[Group] = []
    number = 0
    for allowed, name in sorted(by_name, key=lambda key: (key[0], rank(key[1]), key[1])):
        members = by_name[allowed, name]
        numbers = range(number, number + len(members))
        number += len(members)
        full = list(zip(numbers, members, strict=True))[:SHOWN_IN_FULL]
        made.append(
            Group(
                name=name,
                definition=definitions.get(name, ""),
                allowed=allowed,
                count=len(members),
                affected=sum(_whole(a.get("affected")) or 1 for a in members),
                witnesses=[witness(n, a, shown) for n, a in full],
                others=[
                    (n, str(a.get("summary", "")))
                    for n, a in list(zip(numbers, members, strict=True))[SHOWN_IN_FULL:]
                ],
            )
        )
    return made


def rank(name: str) -> int:
    return WORST_FIRST.index(name) if name in WORST_FIRST else len(WORST_FIRST)


def witness(number: int, anomaly: Mapping[str, Any], shown: Evidence) -> Witness:
    indices = [i for i in anomaly.get("ops", ()) if isinstance(i, int)]
    proving = list({id(o): o for i in indices if (o := shown.operations.get(i)) is not None}.values())
    active = list({id(b): b for i in anomaly.get("faults", ()) if (b := shown.bands.get(i))}.values())
    story = _story(anomaly.get("story", ()), proving, shown)
    told = {s.op for s in story if s.op is not None}
    spoken_of = [
        o for o in proving if o.invoke.index in told or (o.completion and o.completion.index in told)
    ]
    start, end = window([s.time for s in story] or [0])
    where = None if anomaly.get("where") is None else str(anomaly["where"])
    data = anomaly.get("data")
    return Witness(
        number=number,
        name=str(anomaly.get("name", "?")),
        summary=str(anomaly.get("summary", "")),
        blame=str(anomaly.get("blame", "")),
        blame_means=BLAME.get(str(anomaly.get("blame")), ""),
        where=where,
        affected=_whole(anomaly.get("affected")) or 1,
        out_of=_whole(anomaly.get("out_of")),
        allowed=bool(anomaly.get("allowed")),
        faults=[b.label for b in active],
        story=story,
        ops=[_op(o) for o in proving[:MOST_OPS]],
        more_ops=max(0, len(proving) - MOST_OPS),
        start=start,
        end=end,
        diagram=diagram(story, spoken_of, active),
        strip=strip(proving, shown.sweeps, where),
        replicas=replica_picture(data),
        inputs=input_picture(data),
        cycle=cycle_picture(data),
        data=shorten(msgspec.json.format(msgspec.json.encode(data), indent=2).decode(), 20_000)
        if data
        else None,
    )


def window(times: Sequence[int]) -> tuple[int, int]:
    """What to look at: all of the story, but without a final read that comes long after everything else."""
    first, last = times[0], times[-1]
    if len(times) > 2 and last - times[-2] > (last - first) / 2:
        last = times[-2]
    return first, last


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _op(operation: Operation) -> WitnessOp:
    invoke, completion = operation.invoke, operation.completion
    fields = [(f"invoke {name}", text) for name, text in details(invoke)]
    if completion is not None:
        fields += [(f"{completion.type} {name}", text) for name, text in details(completion)]
    return WitnessOp(
        index=invoke.index,
        process=str(invoke.process),
        f=invoke.f,
        outcome=operation.outcome,
        start=invoke.time // 1_000,
        end=None if completion is None else completion.time // 1_000,
        text=summary(operation, 160),
        fields=fields,
    )


def _story(moments: Sequence[Any], proving: Sequence[Operation], shown: Evidence) -> list[Step]:
    """The checker's moments; where they speak of no operation, the operations speak for themselves."""
    steps = [_step(m, shown) for m in moments if isinstance(m, Mapping)]
    if not any(s.op is not None for s in steps):
        steps += [_spoken(operation) for operation in proving[: MOST_STEPS // 2]]
    ordered = sorted(steps, key=lambda s: s.time)[:MOST_STEPS]
    return [msgspec.structs.replace(step, number=n) for n, step in enumerate(ordered, start=1)]


def _step(moment: Mapping[str, Any], shown: Evidence) -> Step:
    index = _whole(moment.get("op"))
    operation = shown.operations.get(index) if index is not None else None
    band = shown.bands.get(index) if index is not None else None
    node = None if moment.get("node") is None else str(moment["node"])
    text = str(moment.get("text", ""))
    nodes: tuple[str, ...] = (node,) if node is not None else ()
    if node is None and band is not None and len(band.targets) <= MOST_TARGETS:
        nodes = tuple(band.targets)
    return Step(
        number=0,
        time=(_whole(moment.get("time")) or 0) // 1_000,
        text=text,
        op=index if operation is not None else None,
        process=None if operation is None else str(operation.process),
        node=node,
        nodes=nodes,
        named=node is not None and operation is None and node not in text,
        arrives=bool(operation and operation.completion and operation.completion.index == index),
    )


def _spoken(operation: Operation) -> Step:
    invoke, completion = operation.invoke, operation.completion
    process = str(invoke.process)
    what = f"{invoke.f} {invoke.key}" if invoke.key is not None else invoke.f
    if completion is None:
        text = f"process {process} begins {what}; it never ends"
        return Step(0, invoke.time // 1_000, text, invoke.index, process)
    text = f"process {process}: {what} is {completion.type}: {summary(operation, 120)}"
    return Step(0, completion.time // 1_000, text, completion.index, process)
