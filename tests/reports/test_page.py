"""From a run folder to what the page says, also where the folder is damaged, hostile or nearly empty."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sample_run import write_sample

from reports.folder import read_run
from reports.html import render, write_report
from reports.page import page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028&amp;'\"{{7*7}}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("runs") / "sample")


class Elements(HTMLParser):
    """Tags with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._in: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = None

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        elif self._in != "style":
            self.text += data

    def ids(self) -> list[str]:
        return [a["id"] or "" for _, a in self.tags if "id" in a]


def test_an_invalid_run_says_what_was_promised_found_and_how_to_see_it_again(run: Path) -> None:
    shown = page(read_run(run))
    assert shown.verdict == "invalid"
    assert shown.headline == "lost-write × 2, in 2,647 operations under 4 faults."
    assert sum(shown.ops.values()) == len(shown.data.ops.index) == 2_647
    assert "900:42, acknowledged to producer 900" in shown.explanation
    assert shown.promise.startswith("acks=1")
    assert shown.command.endswith("--seed 17 --set acks=1")
    assert not shown.missing
    assert [g.name for g in shown.violations] == ["lost-write"]
    assert [g.name for g in shown.allowed] == ["nonmonotonic-end-offset"]
    assert [n.name for n in shown.changed] == ["acks"]
    assert {s.name for s in shown.not_reached} == {"unclean-election", "late-delivery"}


def test_a_witness_tells_its_story_with_numbers_that_the_picture_shares(run: Path) -> None:
    witness = page(read_run(run)).violations[0].witnesses[0]
    assert [s.number for s in witness.story] == list(range(1, 7))
    assert [s.time for s in witness.story] == sorted(s.time for s in witness.story)
    assert witness.diagram is not None
    assert [line.name for line in witness.diagram.lines] == ["900", "902", "b1", "b2"]
    assert [d.number for d in witness.diagram.dots] == list(range(1, 7))
    assert any(bar.kind == "fault" for bar in witness.diagram.bars)
    assert witness.strip is not None
    assert witness.strip.focus == [417]
    here = [row.cells[witness.strip.offsets.index(417)] for row in witness.strip.rows]
    assert [(cell.text, cell.differs) for cell in here] == [("900:42", True), ("904:417", True)]


def test_an_anomaly_is_defined_as_the_checkers_that_found_it_define_it(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "run", operations=100)
    result = json.loads((folder / "result.json").read_text())
    found = {"name": "aborted-read", "summary": "x", "ops": [], "blame": "server"}
    eos = {"checker": "exactly-once", "verdict": "invalid", "anomalies": [found], "measures": {}}
    log = {"checker": "log", "verdict": "valid", "anomalies": [], "measures": {}}
    (folder / "result.json").write_text(json.dumps(result | {"results": [eos, log]}))
    [group] = page(read_run(folder)).violations
    assert group.definition.startswith("an output of a transaction")
    (folder / "result.json").write_text(json.dumps(result | {"results": [eos, log | {"anomalies": [found]}]}))
    [group] = page(read_run(folder)).violations
    assert "; or a record was read although" in group.definition


def test_the_page_is_one_file_that_fetches_nothing(run: Path) -> None:
    text = write_report(run).read_text()
    elements = Elements(text)
    assert not [a for _, a in elements.tags if "src" in a]
    links = [a["href"] or "" for _, a in elements.tags if "href" in a]
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not re.search(r"(@import|url\((?!#))", text.split("<script", 1)[0])
    policy = next(a["content"] for t, a in elements.tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy


def test_every_link_and_every_id_is_good(run: Path) -> None:
    elements = Elements(write_report(run).read_text())
    ids = elements.ids()
    assert len(ids) == len(set(ids))
    fragments = {a["href"] or "" for t, a in elements.tags if t == "a"}
    for fragment in fragments:
        assert fragment.startswith("#op-") or fragment[1:] in ids, fragment


def test_without_data_the_page_stays_small(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert write_report(folder).stat().st_size < 200_000


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("result.json", None, "result.json is missing: the run was not judged: `chaos check` does that"),
        ("result.json", b'{"verdict":', "result.json is damaged"),
        ("spec.json", None, "spec.json is missing"),
        ("spec.json", b'{"version": 99}', "spec.json has format version 99, this report reads 1"),
        ("schedule.json", b"[]", "schedule.json holds no object"),
        ("events.jsonl", None, "events.jsonl is missing"),
        ("events.jsonl", b"not json\n", "events.jsonl is damaged after 0 lines"),
        ("history.jsonl", None, "history.jsonl is missing"),
        ("history.jsonl", b'{"index":0,"time":5,"process":1,"type":"in', "line 1 is torn"),
        (
            "history.jsonl",
            b'{"index":0,"time":5,"process":1,"type":"invoke","f":"send"}\nrubbish\n',
            "the page shows the first 1 events of the history",
        ),
    ],
)
def test_whatever_is_missing_or_damaged_is_said_on_top_of_the_same_page(
    tmp_path: Path, name: str, damage: bytes | None, said: str
) -> None:
    folder = write_sample(tmp_path / "run", operations=200)
    if damage is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(damage)
    elements = Elements(write_report(folder).read_text())
    assert said in elements.text
    assert {"verdict", "timeline", "operations", "configuration"} <= set(elements.ids())


def test_a_run_that_was_never_judged_is_unknown(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "run", operations=200)
    (folder / "result.json").unlink()
    shown = page(read_run(folder))
    assert (shown.verdict, shown.explanation) == ("unknown", "The run was never judged.")
    assert sum(shown.ops.values()) == len(shown.data.ops.index)


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "run", operations=200, verdict="valid")
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(result | {"interrupted": True}))
    assert page(read_run(folder)).missing[0].startswith("the run was interrupted")


def poisoned(value: Any) -> Any:
    """Every text replaced by a hostile one, every key kept."""
    if isinstance(value, dict):
        return {k: poisoned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(v) for v in value]
    return HOSTILE if isinstance(value, str) else value


KEPT = ("type", "verdict", "process")


def poison(folder: Path) -> None:
    """All free text of a run folder is hostile; what the formats fix (types, verdicts) stays."""
    for name in ("spec.json", "result.json"):
        data = json.loads((folder / name).read_text())
        bad = poisoned(data) | {k: data[k] for k in KEPT if k in data}
        bad["situations"] = {HOSTILE: 1, HOSTILE + "2": 0}
        bad["settings"] = bad["config"] = {HOSTILE: HOSTILE}
        bad["problems"] = [{"reason": HOSTILE, "traceback": HOSTILE}]
        bad["warnings"] = [HOSTILE]
        (folder / name).write_text(json.dumps(bad))
    for name in ("history.jsonl", "events.jsonl"):
        lines = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        bad_lines = []
        for line in lines:
            fault = line.get("process") == "nemesis"
            kept = {k: line[k] for k in (*KEPT, "f", "kind") if k in line and (fault or k != "f")}
            bad_lines.append(json.dumps(poisoned(line) | kept))
        (folder / name).write_text("\n".join(bad_lines) + "\n")


def test_nothing_from_a_run_becomes_markup_or_script(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "run", operations=300)
    clean = Elements(write_report(folder).read_text())
    poison(folder)
    text = write_report(folder).read_text()
    elements = Elements(text)
    assert "alert(1)" in elements.text, "the poison must have reached the page"
    assert "alert(1)" in elements.scripts[0], "and its data"
    assert not [t for t, _ in elements.tags if t == "img"]
    assert len(elements.scripts) == len(clean.scripts) == 3
    assert elements.scripts[1:] == clean.scripts[1:]
    assert not [a for _, a in elements.tags if any(k.startswith("on") for k in a)]
    data = elements.scripts[0]
    assert not set("<>&\u2028\u2029") & set(data)
    assert HOSTILE.replace('"', '\\"') in json.loads(data)["ops"]["text"][0]
    assert "{{7*7}}" in elements.text, "a value is no template"


def test_the_same_folder_gives_the_same_page(run: Path) -> None:
    assert render(page(read_run(run))) == render(page(read_run(run)))


def test_it_is_written_without_any_plug_in_of_the_run(run: Path, tmp_path: Path) -> None:
    """A run of a system and of checkers that are not installed here is still shown."""
    folder = write_sample(tmp_path / "run", operations=100)
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"system": "somebody-elses"}))
    result = json.loads((folder / "result.json").read_text())
    result["results"][0]["checker"] = "also-not-here"
    (folder / "result.json").write_text(json.dumps(result))
    assert page(read_run(folder)).reached[0].doc == ""


def test_a_hundred_thousand_operations_are_written_in_seconds(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "big", operations=105_000, seconds=1_050)
    code = "import sys, pathlib, reports.html as h; h.write_report(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)
    assert (folder / "report.html").stat().st_size < 15_000_000
