"""The answer to a question in words: what was found where, and how sure silence is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.sweep.cells import LOSSES, Cell

CONFIDENCE = 0.95


def answer(cells: Iterable[Cell]) -> list[str]:
    """A paragraph a configuration, and the short of it."""
    by_row: dict[str, list[Cell]] = {}
    for cell in cells:
        by_row.setdefault(cell.row, []).append(cell)
    return [*(f"{row} {_of_row(in_row)}" for row, in_row in by_row.items()), _in_short(by_row)]


def _in_short(by_row: Mapping[str, Sequence[Cell]]) -> str:
    losing = [row for row, cells in by_row.items() if any(_loses(name) for c in cells for name in c.found)]
    wrong = [row for row, cells in by_row.items() if any(c.found for c in cells) and row not in losing]
    silent = [row for row, cells in by_row.items() if not any(c.found for c in cells)]
    proven = [row for row in silent if all(cell.proves for cell in by_row[row])]
    parts = [f"data is lost with {_listed(losing)}"] if losing else []
    parts += [f"other anomalies, but no loss, with {_listed(wrong)}"] if wrong else []
    parts += [f"nothing was found with {_listed(proven)}"] if proven else []
    unknown = [row for row in silent if row not in proven]
    parts += [f"nothing is known of {_listed(unknown)}"] if unknown else []
    return f"In short: {'; '.join(parts)}."


def _loses(anomaly: str) -> bool:
    return anomaly in LOSSES


def _listed(rows: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(f"'{row}'" for row in rows[:-1]), f"'{rows[-1]}'")))


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
        (f"loses data ({name})" if _loses(name) else f"shows {name}")
        + " under "
        + ", ".join(_share(cell, name) for cell in found)
        for name, found in sorted(
            by_anomaly.items(), key=lambda item: -sum(c.found[item[0]] for c in item[1])
        )
    ]
    proven = [cell for cell in cells if not cell.found and cell.proves]
    if proven:
        runs = min(cell.verdicts["valid"] for cell in proven)
        parts.append(
            f"shows nothing under {', '.join(cell.nemesis for cell in proven)} ({runs} valid run{'s' * (runs != 1)} "
            f"or more each: at {CONFIDENCE:.0%} confidence, fewer than "
            f"{silent_at_most(runs):.0%} of such runs would show it)"
        )
    parts += [
        f"proves nothing under {cell.nemesis} ({_why_unproven(cell)})" for cell in cells if not cell.proves
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
