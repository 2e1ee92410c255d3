"""Is every mistake of the catalogue caught, under its name, and its safe twin silent? `chaos bugs --verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Literal

import msgspec

from harness.campaign import Finding, RunLine, run_specs
from harness.catalogue import Entry, directed, exposing
from harness.results import Verdict
from harness.spec import Spec

Outcome = Literal["caught", "missed", "misnamed"]


class Seen(msgspec.Struct, kw_only=True):
    """Runs of one kind of an entry: with its directed schedule, or under random faults."""

    runs: int = 0
    caught: int = 0
    misnamed: int = 0
    """Invalid, but under names that are not the mistake's."""
    names: dict[str, int] = msgspec.field(default_factory=dict)
    operations: list[int] = msgspec.field(default_factory=list)
    seconds: list[float] = msgspec.field(default_factory=list)

    def add(self, entry: Entry, run: RunLine) -> None:
        self.runs += 1
        for found in run.anomalies:
            self.names[found.name] = self.names.get(found.name, 0) + 1
        hits = [found for found in run.anomalies if found.name in entry.expect]
        if hits:
            self.caught += 1
            first = min(hits, key=_when)
            if first.detected is not None:
                self.operations.append(first.detected.operations)
                self.seconds.append(first.detected.seconds)
        elif run.anomalies:
            self.misnamed += 1

    @property
    def outcome(self) -> Outcome:
        if self.caught:
            return "caught"
        return "misnamed" if self.misnamed else "missed"

    @property
    def median_operations(self) -> int | None:
        return round(median(self.operations)) if self.operations else None

    @property
    def median_seconds(self) -> float | None:
        return round(median(self.seconds), 1) if self.seconds else None


class Proof(msgspec.Struct, kw_only=True):
    """What became of one entry. `alarms`: seeds of safe twins that were not silent, with what they reported."""

    name: str
    random: Seen = msgspec.field(default_factory=Seen)
    directed: Seen | None = None
    twins: int = 0
    alarms: dict[int, str] = msgspec.field(default_factory=dict)


class _Asked(msgspec.Struct, frozen=True):
    entry: Entry
    scripted: bool
    wrong: bool
    seed: int


def prove(
    system: str,
    entries: Sequence[Entry],
    seeds: Sequence[int],
    *,
    cores: int | None = None,
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> list[Proof]:
    """Runs every entry and its safe twin under every seed; the directed schedule too where there is one."""
    asked = list(_asked(entries, seeds))
    proofs = {entry.name: Proof(name=entry.name) for entry in entries}
    specs = (_spec(system, one) for one in asked)
    for done, (position, run) in enumerate(run_specs(specs, root=None, cores=cores), start=1):
        one = asked[position]
        _note(proofs[one.entry.name], one, run)
        observe(done, len(asked))
    return list(proofs.values())


def _asked(entries: Sequence[Entry], seeds: Sequence[int]) -> Iterator[_Asked]:
    for seed in seeds:
        for entry in entries:
            for scripted in (True, False) if entry.directed is not None else (False,):
                for wrong in (True, False):
                    yield _Asked(entry, scripted, wrong, seed)


def _spec(system: str, asked: _Asked) -> Spec:
    if not asked.scripted:
        return exposing(asked.entry, system, asked.seed, wrong=asked.wrong)
    spec = directed(asked.entry, system, asked.seed, wrong=asked.wrong)
    assert spec is not None
    return spec


def _note(proof: Proof, asked: _Asked, run: RunLine) -> None:
    if not asked.wrong:
        proof.twins += 1
        if run.verdict is Verdict.INVALID:
            proof.alarms[asked.seed] = ", ".join(found.name for found in run.anomalies)
        return
    if asked.scripted:
        proof.directed = proof.directed or Seen()
        proof.directed.add(asked.entry, run)
    else:
        proof.random.add(asked.entry, run)


def _when(found: Finding) -> float:
    return found.detected.seconds if found.detected is not None else float("inf")
