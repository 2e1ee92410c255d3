"""The bundled broker answers as Apache Kafka does, and Apache Kafka as the golden files say.

`differences.json` lists what deliberately differs: theme -> script -> answer -> [what the broker says, why].
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import Cluster

from .apache_kafka import MISSING, VERSION
from .catalogue import GOLDEN, THEMES, Theme, ask
from .record import recorded
from .session import Answer
from .simulated_broker import CLIENTS, simulated


@cache
def bundled(theme: Theme) -> dict[str, Answer]:
    """What the bundled broker answers, in simulation."""

    async def run(cluster: Cluster, config: dict[str, Any]) -> dict[str, Answer]:
        client = cluster.client_host(CLIENTS[0])
        brokers = [
            cluster.address(node.name, client=client.name) for node in cluster.topology.with_role("broker")
        ]
        return await client.spawn(ask(theme, brokers))

    return simulated(run, {"transaction.version": theme.transaction_version})


def golden(theme: Theme) -> dict[str, Any]:
    return dict(json.loads(theme.golden.read_text()))


def scripts() -> list[Any]:
    return [
        pytest.param(theme, script, id=f"{theme.name}-{script}")
        for theme in THEMES
        for script in theme.scripts
    ]


DIFFERENCES: dict[str, dict[str, dict[str, list[Any]]]] = json.loads(
    Path(__file__).with_name("differences.json").read_text()
)


@pytest.mark.parametrize(("theme", "script"), scripts())
def test_the_bundled_broker_answers_as_kafka(theme: Theme, script: str) -> None:
    kafka, ours = golden(theme)["answers"][script], bundled(theme)[script]
    for answer, (deliberate, _) in DIFFERENCES.get(theme.name, {}).get(script, {}).items():
        assert kafka[answer] != deliberate, f"{answer} is no difference any more: take it out of the list"
        kafka[answer] = deliberate
    answers = [*kafka, *(answer for answer in ours if answer not in kafka)]
    differing = [answer for answer in answers if kafka.get(answer) != ours.get(answer)]
    assert not differing, "\n".join(
        f"{answer}:\n  Kafka {kafka.get(answer)}\n  ours  {ours.get(answer)}" for answer in differing
    )


@pytest.mark.real
@pytest.mark.skipif(bool(MISSING), reason=f"a real Kafka needs {' and '.join(MISSING)}")
@pytest.mark.timeout(600)
def test_kafka_answers_as_recorded() -> None:
    for theme, answers in recorded(THEMES):
        assert json.loads(json.dumps(answers)) == golden(theme)["answers"], theme.name


def test_one_version_of_kafka_decides() -> None:
    assert {golden(theme)["kafka"] for theme in THEMES} == {VERSION}
    assert {path.name for path in GOLDEN.glob("*.json")} == {theme.golden.name for theme in THEMES}
    known = {theme.name: theme.scripts for theme in THEMES}
    assert all(script in known[theme] for theme, listed in DIFFERENCES.items() for script in listed)
