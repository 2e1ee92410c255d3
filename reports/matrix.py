"""Writes `matrix.html` of a sweep: configuration × nemesis, every cell with what was found and a link to a run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.whole_file import write_whole
from reports.html import HERE, _environment
from reports.witness import rank

MATRIX = "matrix.json"
SUMMARY = "summary.json"
PAGE = "matrix.html"


def write_matrix(folder: Path) -> Path:
    """Reads the sweep's folder, writes its `matrix.html`, returns its path. Raises OSError."""
    matrix = json.loads((folder / MATRIX).read_text(encoding="utf-8"))
    cells = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    path = folder / PAGE
    write_whole(path, render(matrix, cells, folder).encode())
    return path


def render(matrix: Mapping[str, Any], cells: list[Mapping[str, Any]], folder: Path) -> str:
    found = {(cell["row"], cell["nemesis"]): _shown(cell, folder) for cell in cells}
    style = "".join(
        (HERE / "templates" / name).read_text(encoding="utf-8") for name in ("style.css", "matrix.css")
    )
    return (
        _environment()
        .get_template("matrix.html.j2")
        .render(
            matrix=matrix,
            rows=[(row, [found.get((row["name"], n)) for n in matrix["nemeses"]]) for row in matrix["rows"]],
            runs=sum(cell["runs"] for cell in cells),
            wrong=[
                (cell["row"], cell["nemesis"], sentence)
                for cell in cells
                for sentence in cell["disagreements"]
            ],
            predicted=any(cell["prediction"] for cell in cells),
            style=Markup(style),
        )
    )


def text_table(matrix: Mapping[str, Any], cells: list[Mapping[str, Any]]) -> str:
    """For a terminal, or for Markdown: the same, a line a row."""
    found = {(cell["row"], cell["nemesis"]): cell for cell in cells}
    lines = ["| configuration | " + " | ".join(matrix["nemeses"]) + " |"]
    lines.append("|---" * (1 + len(matrix["nemeses"])) + "|")
    for row in matrix["rows"]:
        told = [cell_text(found[(row["name"], nemesis)]) for nemesis in matrix["nemeses"]]
        lines.append(f"| {row['name']} | " + " | ".join(told) + " |")
    return "\n".join(lines)


def cell_text(cell: Mapping[str, Any]) -> str:
    """`lost-write 42/50, duplicate 3/50 ✗`: what was found in how many runs; ✗ where the prediction disagrees."""
    if not cell["runs"]:
        return "not run"
    parts = [f"{name} {count}/{cell['runs']}" for name, count in _ranked(cell["found"])]
    unknown = cell["verdicts"].get("unknown", 0)
    if unknown:
        parts.append(f"unknown {unknown}/{cell['runs']}")
    if cell.get("missed"):
        parts.append("nothing proven")
    return (", ".join(parts) or "–") + (" ✗" if cell["disagreements"] else "")


def _ranked(found: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(found.items(), key=lambda item: (rank(item[0]), item[0]))


def _shown(cell: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A cell as the page shows it: paths relative to the sweep's folder, so that it can be moved."""
    links = {e["anomaly"]: (e["seed"], e["operations"], _link(e["dir"], folder)) for e in cell["examples"]}
    level = "none"
    if not cell["runs"]:
        level = "absent"
    elif cell["found"]:
        share = max(cell["found"].values()) / cell["runs"]
        level = "most" if share >= 0.5 else "some"
    elif cell["verdicts"].get("unknown") or cell.get("missed"):
        level = "unknown"
    return {
        **cell,
        "level": level,
        "anomalies": [(name, count, links.get(name)) for name, count in _ranked(cell["found"])],
        "p50": _time(cell["p50_ms"]),
        "p99": _time(cell["p99_ms"]),
        "unknowns": cell["verdicts"].get("unknown", 0),
    }


def _time(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _link(run: str | None, folder: Path) -> str | None:
    if run is None:
        return None
    page = Path(run) / "report.html"
    shown = page if page.exists() else Path(run)
    return Path(os.path.relpath(shown, folder)).as_posix() if shown.exists() else None
