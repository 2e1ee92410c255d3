"""The reference says what the code says, and every link in the docs leads somewhere."""

from __future__ import annotations

import random
import re
import runpy
import shlex
from pathlib import Path

import click
import msgspec
import pytest

from harness import registry
from harness.cli import group
from harness.faults import check_schedule
from harness.history import parse_line
from harness.plan import resolve
from harness.schedule import Schedule
from harness.spec import Spec
from harness.topology import Topology

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES: dict[str, str] = runpy.run_path(str(REFERENCE / "generate.py"))["pages"]()
MARKDOWN = sorted([ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(#[^)]*)?\)")


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_current(name: str) -> None:
    path = REFERENCE / name
    assert path.exists(), "run `make docs`"
    assert path.read_text() == PAGES[name], "run `make docs`"


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def examples(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def test_the_lines_of_the_history_page_are_read() -> None:
    lines = [line for block in examples(REFERENCE / "history.md", "json") for line in block.splitlines()]
    assert len(lines) > 5
    for number, line in enumerate(lines, start=1):
        parse_line(line.encode(), number)


def check(schedule: Schedule) -> None:
    system = registry.load("systems", "broker")
    subjects = {"leader": ("orders/0",)}
    topology = Topology(nodes=system.nodes(3, {}), clients=("client-0",), subjects=subjects)
    assert schedule.faults
    check_schedule(schedule, topology, system.view(topology))


@pytest.mark.parametrize("page", ["tutorial.md", "how-to/replay.md"])
def test_schedules_in_the_docs_can_be_carried_out(page: str) -> None:
    [text] = examples(ROOT / "docs" / page, "json")
    check(msgspec.json.decode(text, type=Schedule))


def test_the_nemesis_in_the_docs_makes_a_schedule() -> None:
    [text] = examples(ROOT / "docs" / "how-to" / "add-a-nemesis.md", "python")
    names: dict[str, type] = {}
    exec(text, names)
    nemesis = names["Storm"]()
    schedule = nemesis.schedule(None, 60_000, random.Random(0), {})
    check(schedule)
    assert schedule.kinds == nemesis.needs


def commands() -> list[str]:
    """Every `chaos test …` of README and docs that is a line of its own."""
    lines = [line.strip() for page in MARKDOWN for line in page.read_text().splitlines()]
    found = [line.partition("#")[0].strip() for line in lines if line.startswith("chaos test ")]
    return sorted(
        {line for line in found if "..." not in line and "--schedule" not in line and "storm" not in line}
    )


@pytest.mark.parametrize("line", commands())
def test_commands_in_the_docs_are_understood(line: str) -> None:
    """As far as a plan that is ready to run."""
    command = group.chaos.get_command(click.Context(group.chaos), "test")
    assert command is not None
    given = command.make_context("chaos test", shlex.split(line)[2:]).params
    settings = dict(text.split("=") for text in given["settings"])
    spec = Spec(
        system=given["system"],
        workload=given["workload"],
        nemesis=given["nemesis"],
        nodes=given["nodes"],
        profile=given["profile"],
        settings=settings,
        bugs=tuple(given["bugs"]),
        backend=given["backend"],
    )
    assert resolve(spec).schedule is not None
