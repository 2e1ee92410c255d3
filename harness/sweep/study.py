"""The answer to a question in words: what was found where, and how sure silence is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.sweep.cells import Cell

CONFIDENCE = 0.95


def answer(cells: Iterable[Cell]) -> list[str]:
    """A paragraph a configuration."""
    by_row: dict[str, list[Cell]] = {}
    for cell in cells:
        by_row.setdefault(cell.row, []).append(cell)
    return [f"{row}: {_of_row(in_row)}" for row, in_row in by_row.items()]


def silent_at_most(runs: int) -> float:
    """The share of runs that may show an anomaly, at 95 % confidence, although none of `runs` did (Clopper and
    Pearson 1934; about 3 / runs)."""
    return 1.0 if runs == 0 else 1.0 - (1.0 - CONFIDENCE) ** (1.0 / runs)


def _of_row(cells: Sequence[Cell]) -> str:
    by_anomaly: dict[str, list[Cell]] = {}
    for cell in cells:
        for name in cell.found:
            by_anomaly.setdefault(name, []).append(cell)
    parts = [
        f"{name} under " + ", ".join(_share(cell, name) for cell in found)
        for name, found in sorted(
            by_anomaly.items(), key=lambda item: -sum(c.found[item[0]] for c in item[1])
        )
    ]
    proven = [cell for cell in cells if not cell.found and cell.proves]
    if proven:
        runs = min(cell.verdicts["valid"] for cell in proven)
        parts.append(
            f"nothing under {', '.join(cell.nemesis for cell in proven)} (at least {runs} valid runs each: at "
            f"{CONFIDENCE:.0%} confidence, fewer than {silent_at_most(runs):.0%} of such runs would show it)"
        )
    parts += [
        f"nothing is proven under {cell.nemesis} ({_why_unproven(cell)})" for cell in cells if not cell.proves
    ]
    return "; ".join(parts)


def _why_unproven(cell: Cell) -> str:
    if not cell.runs:
        return "not run"
    return cell.missed or f"all {cell.runs} runs are unknown: {'; '.join(cell.unknown)}"


def _share(cell: Cell, name: str) -> str:
    lost = ""
    if cell.lost is not None and cell.lost.value and name in ("lost-write", "eos-loss"):
        lost = f", {100 * cell.lost.value:.2g} % of what was acknowledged"
    return f"{cell.nemesis} ({cell.found[name]} of {cell.runs} runs{lost})"
