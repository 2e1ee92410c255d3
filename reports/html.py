"""Writes `report.html`: one file without a network, in which every value from the history is untrusted.

Text goes through Jinja's autoescape. Data goes in as JSON in which nothing can end the script element. The
page forbids itself everything else: its content security policy names the two scripts by their hash.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.whole_file import write_whole
from reports.folder import read_run
from reports.page import Data, Page, page

HERE = Path(__file__).parent
REPORT = "report.html"
SCRIPTS = ("data", "time_axis", "charts", "strips", "operations", "page")
"""In order; together they are one script."""

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def write_report(folder: Path) -> Path:
    """Reads the run folder, writes its `report.html`, returns its path. Raises OSError when it cannot be
    written; whatever is missing or damaged in the folder is said on the page."""
    path = folder / REPORT
    write_whole(path, render(page(read_run(folder))).encode())
    return path


def render(shown: Page) -> str:
    script, library = _script(), _asset("vendor/uplot/uPlot.iife.min.js")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            page=shown,
            data=embedded(shown.data),
            style=Markup(_asset("vendor/uplot/uPlot.min.css") + _asset("templates/style.css")),
            library=Markup(library),
            script=Markup(script),
            policy=f"script-src {_source(library)} {_source(script)}",
        )
    )


def embedded(data: Data) -> Markup:
    """JSON that stays data inside a script element, whatever the history holds."""
    text = msgspec.json.encode(data).decode()
    for character, safe in _UNSAFE.items():
        text = text.replace(character, safe)
    return Markup(text)


def _source(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _script() -> str:
    parts = [_asset(f"templates/{name}.js") for name in SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();"


@cache
def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = seconds
    environment.filters["code"] = code
    return environment


def code(sentence: str) -> Markup:
    """A checker's sentence: what stands in backticks is a value. Escaped first, whatever it is."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return escape(sentence)
    marked = (Markup("<code>{}</code>").format(p) if n % 2 else escape(p) for n, p in enumerate(parts))
    return Markup("").join(marked)


def seconds(microseconds: int) -> str:
    return f"{microseconds / 1e6:.3f} s"
