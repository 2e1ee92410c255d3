"""What the runs of a cell say together, and what is told of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

import msgspec

from harness import registry
from harness.coverage import must_reach, never_reached, unreached
from harness.results import Verdict
from harness.sweep.matrix import Matrix, Row
from harness.sweep.predictions import disagreements, parse

LOSSES = ("lost-write", "eos-loss", "lost-element", "consume-lost")
NO_FAULTS = "none"
CONFIDENCE = 0.95
RESAMPLES = 1_000


class Share(msgspec.Struct, frozen=True):
    """A share with its confidence interval."""

    value: float
    low: float
    high: float


class Example(msgspec.Struct, frozen=True):
    """The smallest run of a cell that shows an anomaly."""

    anomaly: str
    seed: int
    operations: int
    dir: str | None


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one configuration under one nemesis."""

    row: str
    nemesis: str
    runs: int
    verdicts: dict[str, int]
    found: dict[str, int]
    """Anomaly -> runs that show it."""
    lost: Share | None
    """Of the acknowledged writes, over all runs."""
    available: float | None
    p50_ms: float | None
    p99_ms: float | None
    examples: tuple[Example, ...]
    unknown: tuple[str, ...]
    """Reasons of the runs that prove nothing."""
    missed: str | None = None
    """What a cell without a finding never reached, though it should have, and what would reach it."""
    prediction: str | None
    disagreements: tuple[str, ...]

    @property
    def proves(self) -> bool:
        """Something was found, or its silence means something."""
        return bool(self.found) or bool(self.verdicts.get(Verdict.VALID.value) and not self.missed)


def cells(matrix: Matrix, lines: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """Every cell of the matrix, row by row; those without a run too."""
    by_cell: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in lines:
        by_cell.setdefault((line["row"], line["nemesis"]), []).append(line)
    known = _named(matrix)
    return [
        _cell(matrix, row, nemesis, by_cell.get((row.name, nemesis), []), known)
        for row in matrix.rows
        for nemesis in matrix.nemeses
    ]


def _cell(
    matrix: Matrix, row: Row, nemesis: str, runs: list[Mapping[str, Any]], known: frozenset[str]
) -> Cell:
    predicted = row.predict.get(nemesis)
    found: Counter[str] = Counter()
    for run in runs:
        found.update(set(run["anomalies"]))
    wrong: list[str] = []
    if predicted and runs:
        wrong = disagreements(parse(predicted, known), found, len(runs), matrix.corollaries)
    return Cell(
        row=row.name,
        nemesis=nemesis,
        runs=len(runs),
        verdicts=dict(sorted(Counter(str(run["verdict"]) for run in runs).items())),
        found=dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))),
        lost=_lost(runs),
        available=_median(run["available"] for run in runs),
        p50_ms=_median(run["p50_ms"] for run in runs),
        p99_ms=_median(run["p99_ms"] for run in runs),
        examples=tuple(_smallest(name, runs) for name in found),
        unknown=tuple(
            dict.fromkeys(str(run["reason"]) for run in runs if run["verdict"] == Verdict.UNKNOWN.value)
        )[:3],
        missed=None if found or not runs else _missed(matrix, nemesis, runs),
        prediction=predicted,
        disagreements=tuple(wrong),
    )


def _missed(matrix: Matrix, nemesis: str, runs: list[Mapping[str, Any]]) -> str | None:
    system = registry.load("systems", matrix.system)
    asked = () if nemesis == NO_FAULTS else matrix.situations
    never = unreached(
        (dict(_items(run["situations"])) for run in runs), must_reach(system, nemesis, len(runs), asked)
    )
    return f"{len(runs)} runs {never_reached(system, never)}" if never else None


def _named(matrix: Matrix) -> frozenset[str]:
    """Names in predictions were checked when the matrix was loaded: here all of them are known."""
    words = " ".join(text for row in matrix.rows for text in row.predict.values())
    return frozenset(words.replace("/", " ").replace(";", " ").split())


def _smallest(anomaly: str, runs: list[Mapping[str, Any]]) -> Example:
    shown = [run for run in runs if anomaly in run["anomalies"]]
    best = min(shown, key=lambda run: (run["dir"] is None, run["operations"], run["seed"]))
    return Example(anomaly, best["seed"], best["operations"], best["dir"])


def _lost(runs: list[Mapping[str, Any]]) -> Share | None:
    """Bootstrapped over runs (Efron 1979): the losses of one run come together, so writes are no sample."""
    pairs = [
        (sum(count for name, count in _items(run["affected"]) if name in LOSSES), run["acknowledged"])
        for run in runs
        if run["acknowledged"]
    ]
    if not pairs:
        return None
    value = _ratio(pairs)
    rng = random.Random(len(pairs))
    drawn = sorted(_ratio(rng.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES)) if value else [0.0]
    edge = int(len(drawn) * (1 - CONFIDENCE) / 2)
    return Share(value, drawn[edge], drawn[len(drawn) - 1 - edge])


def _ratio(pairs: Iterable[tuple[int, int]]) -> float:
    lost = acknowledged = 0
    for one, other in pairs:
        lost, acknowledged = lost + one, acknowledged + other
    return lost / acknowledged


def _items(counted: Any) -> Iterable[tuple[str, int]]:
    """A map column: DuckDB gives a dictionary, or pairs."""
    return counted.items() if isinstance(counted, Mapping) else counted


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 4) if known else None
