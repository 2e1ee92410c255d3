"""The skew of a keyed load as the page shows it: a row a partition, with bars for its records and its greatest lag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class Bars(msgspec.Struct, frozen=True):
    """One partition. Widths are percent of the longest bar of their kind; a bar that is not empty can be seen."""

    name: str
    records: int
    lag: int
    records_width: float
    lag_width: float


class Skew(msgspec.Struct, frozen=True):
    rows: list[Bars]
    sentence: str
    mean_at: float
    """Where the mean of the records stands, in percent."""


def skew(results: Sequence[Mapping[str, Any]]) -> Skew | None:
    """From the measures of checker `skew`; None where a run has none, or none that can be read."""
    measures = next((r.get("measures") for r in results if r.get("checker") == "skew"), None)
    partitions = measures.get("partitions") if isinstance(measures, Mapping) else None
    if not isinstance(measures, Mapping) or not isinstance(partitions, Mapping):
        return None
    read = [
        (str(name), _count(of, "records"), _count(of, "most_lag"))
        for name, of in partitions.items()
        if isinstance(of, Mapping)
    ]
    if not read:
        return None
    most = max((records for _, records, _ in read), default=0)
    most_lag = max((lag for _, _, lag in read), default=0)
    mean = sum(records for _, records, _ in read) / len(read)
    return Skew(
        rows=[
            Bars(name, records, lag, _width(records, most), _width(lag, most_lag))
            for name, records, lag in read
        ],
        sentence=_sentence(measures, most, mean),
        mean_at=_width(mean, most),
    )


def _count(of: Mapping[str, Any], name: str) -> int:
    value = of.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _width(value: float, most: float) -> float:
    return max(0.5, round(100 * value / most, 2)) if value and most else 0.0


def _sentence(measures: Mapping[str, Any], most: int, mean: float) -> str:
    parts = [
        f"The fullest partition has {most / mean:.2f} times the mean."
        if mean
        else "No record was acknowledged."
    ]
    judged, wrong = _count(measures, "records_judged_for_order"), _count(measures, "out_of_order")
    if judged:
        parts.append(
            f"Of {judged:,} records whose place in the order of their key is known, {wrong:,} "
            f"({100 * wrong / judged:.1f} %) were processed before one that was sent earlier."
        )
    return " ".join(parts)
