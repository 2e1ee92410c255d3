"""Checker `offsets`: the end of a partition never goes back.

    end-offset   the ok's value: [partition, end]; `epochs`: [partition, leader epoch] of the answers
    send         the ok's `offset` is below the end from then on

Whoever leads a later epoch has all that was committed in an earlier one, and must not say where the log ends before
it knows that (KIP-207): its answers are no lower than those of any earlier epoch, whenever they were given. Within an
epoch there is one leader, and an answer is no lower than one that had arrived before the question was asked. The
answer of a deposed leader may be old; it carries the old epoch and is held against that one alone. Answers without
an epoch are left to checker `log`, which holds those of the final phase against all before.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from checkers.violations import Violation, answer
from harness.checker import CheckContext
from harness.history import History
from harness.ops import Operation
from harness.results import Result


class Answer(msgspec.Struct, frozen=True):
    """Where a partition ended by the word of a leader."""

    end: int
    epoch: int
    operation: Operation

    @property
    def asked(self) -> int:
        return self.operation.invoke.index

    @property
    def given(self) -> int:
        assert self.operation.completion is not None
        return self.operation.completion.index


class OffsetsChecker:
    description = "the end of a partition never goes back, from one leader epoch to the next or within one"
    anomalies: Mapping[str, str] = {
        "nonmonotonic-end-offset": "a leader said that a partition ends lower than an earlier leader, or it itself before, had said",
    }

    def check(self, history: History, context: CheckContext) -> Result:
        answers = collect(history)
        found: list[Violation] = []
        for partition, of_partition in sorted(answers.items()):
            found += regressions(partition, of_partition)
        probes = sum(o.f == "end-offset" for o in history.operations)
        count = sum(map(len, answers.values()))
        epochs = {p: len({a.epoch for a in of}) for p, of in sorted(answers.items())}
        doubt = None
        if count < 2:
            doubt = f"{count} answers with a leader epoch came to {probes} questions"
        return answer(
            "offsets",
            history,
            context,
            found,
            doubt=doubt,
            measures={"answers": count, "epochs": epochs},
            out_of={
                ("nonmonotonic-end-offset", partition): (len(of), "answers")
                for partition, of in answers.items()
            },
        )


def collect(history: History) -> dict[str, list[Answer]]:
    """By partition, in order of arrival."""
    found: dict[str, list[Answer]] = {}
    done = [o for o in history.operations if o.f == "end-offset" and o.outcome == "ok"]
    for operation in sorted(done, key=lambda o: o.completion.index if o.completion else 0):
        assert operation.completion is not None
        epochs = dict(operation.completion.extra.get("epochs") or ())
        for partition, end in operation.completion.value:
            if partition in epochs:
                told = Answer(int(end), int(epochs[partition]), operation)
                found.setdefault(str(partition), []).append(told)
    return found


def regressions(partition: str, answers: list[Answer]) -> list[Violation]:
    """One for each answer that is too low. Linear after sorting."""
    found: list[Violation] = []
    by_epoch: dict[int, list[Answer]] = {}
    for told in answers:
        by_epoch.setdefault(told.epoch, []).append(told)
    before: Answer | None = None
    for epoch in sorted(by_epoch):
        highest = before
        arrived, place = by_epoch[epoch], 0
        best: Answer | None = None
        for told in sorted(arrived, key=lambda a: a.asked):
            while place < len(arrived) and arrived[place].given < told.asked:
                if best is None or arrived[place].end > best.end:
                    best = arrived[place]
                place += 1
            bound = max((a for a in (before, best) if a is not None), key=lambda a: a.end, default=None)
            if bound is not None and told.end < bound.end:
                found.append(_violation(partition, bound, told))
            if highest is None or told.end > highest.end:
                highest = told
        before = highest
    return found


def _violation(partition: str, bound: Answer, told: Answer) -> Violation:
    who = (
        f"the leader of epoch {told.epoch} itself had said"
        if bound.epoch == told.epoch
        else f"the leader of epoch {bound.epoch} had said"
    )
    return Violation(
        name="nonmonotonic-end-offset",
        where=partition,
        sentence=(
            f"process {told.operation.process} was told by the leader of epoch {told.epoch} that it ends at "
            f"{told.end}, but {who} {bound.end}"
        ),
        operations=(bound.operation, told.operation),
        value=told.end,
    )
