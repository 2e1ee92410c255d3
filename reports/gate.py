"""The answers of the gate for those who read them: JUnit XML, a Markdown summary, annotations, an HTML index.

An answer is a mapping as `harness.gate.run.Answer` gives it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.whole_file import write_whole
from reports.html import HERE, _environment

Answers = Sequence[Mapping[str, Any]]
MARKS = {"passed": "✅", "failed": "❌", "unknown": "❔"}
_LINE_ENDS = {"%": "%25", "\r": "%0D", "\n": "%0A"}


def junit(answers: Answers) -> bytes:
    """One test case a test; what is unknown is an error, as it is neither."""
    from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

    suite = TestSuite("chaos")
    for answer in answers:
        case = TestCase(answer["name"], classname="chaos", time=answer["seconds"])
        if answer["outcome"] != "passed":
            kind = Failure if answer["outcome"] == "failed" else Error
            result = kind(answer["reason"], answer["outcome"])
            result.text = "\n".join([answer["reason"], *_told(answer)])
            case.result = [result]
        suite.add_testcase(case)
    xml = JUnitXml("chaos")
    xml.add_testsuite(suite)
    tostring: Any = xml.tostring
    return bytes(tostring())


def markdown(answers: Answers, seconds: float) -> str:
    """For a step's summary."""
    counts = {o: sum(a["outcome"] == o for a in answers) for o in MARKS}
    lines = [
        "## chaos: " + ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n),
        "",
        f"{sum(a['runs'] for a in answers)} runs in {seconds:.0f} s",
        "",
        "| | test | runs | result |",
        "|---|---|---|---|",
    ]
    for answer in answers:
        told = "; ".join([answer["reason"], *answer["notes"]])
        lines.append(
            f"| {MARKS[answer['outcome']]} | {_cell(answer['name'])} | {answer['runs']} | {_cell(told)} |"
        )
    for answer in answers:
        if answer["failures"]:
            lines += ["", f"### {answer['name']}", "", *(f"- {_cell(told)}" for told in _told(answer))]
    return "\n".join(lines) + "\n"


def workflow_commands(answers: Answers) -> list[str]:
    """Annotations of GitHub Actions, a line each."""
    return [
        f"::{'error' if a['outcome'] == 'failed' else 'warning'} title=chaos%3A {_escaped(a['name'])}::"
        + _escaped("\n".join([a["reason"], *_told(a)]))
        for a in answers
        if a["outcome"] != "passed"
    ]


def write_index(path: Path, answers: Answers, seconds: float) -> None:
    """One page with a link to the report of every failure. Raises OSError."""
    style = "".join((HERE / "templates" / n).read_text(encoding="utf-8") for n in ("style.css", "matrix.css"))
    told = [{**a, "failures": [_linked(f, path.parent) for f in a["failures"]]} for a in answers]
    page = _environment().get_template("gate.html.j2").render(
        answers=told, seconds=round(seconds), style=Markup(style), marks=MARKS,
        failed=any(a["outcome"] == "failed" for a in answers),
        unknown=any(a["outcome"] == "unknown" for a in answers),
    )  # fmt: skip
    write_whole(path, page.encode())


def _linked(failure: Mapping[str, Any], where: Path) -> dict[str, Any]:
    folder = failure["run"]["dir"]
    report = None if folder is None else Path(folder) / "report.html"
    if report is None or not report.exists():
        return {**failure, "link": None}
    return {**failure, "link": Path(os.path.relpath(report, where)).as_posix()}


def _told(answer: Mapping[str, Any]) -> list[str]:
    """Each failure: the sentence, how it came back, how to see it again."""
    lines = []
    for failure in answer["failures"]:
        run = failure["run"]
        lines += [f"seed {run['seed']}: {a['summary']}" for a in run["anomalies"]]
        lines += [failure["again"]] if failure["again"] else []
        lines.append(f"reproduce: {failure['repro']}")
    return lines


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _escaped(text: str) -> str:
    for character, code in _LINE_ENDS.items():
        text = text.replace(character, code)
    return text
