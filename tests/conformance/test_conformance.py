"""The bundled broker answers as Apache Kafka does, and Apache Kafka as the golden files say.

`differences.json` lists what deliberately differs: theme -> script -> answer -> [what the broker says, why].
"""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import Cluster
from harness.clusters.sim import SimBackend
from harness.registry import load
from harness.settings import resolve
from harness.sim.settings import SETTINGS as SIM_SETTINGS
from harness.topology import Topology

from .apache_kafka import MISSING, VERSION
from .catalogue import GOLDEN, THEMES, Theme, ask
from .record import recorded
from .session import Answer

CLIENT = "asker"
LIKE_THE_REAL_ONE = {
    "group.initial.rebalance.delay.ms": 0,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
}


@cache
def bundled(theme: Theme) -> dict[str, Answer]:
    """What the bundled broker answers, in simulation."""
    system = load("systems", "broker")
    given = LIKE_THE_REAL_ONE | {"transaction.version": theme.transaction_version}
    config = dict(resolve((*system.settings, *SIM_SETTINGS), given))
    topology = Topology(nodes=system.nodes(3, config), clients=(CLIENT,))

    async def scenario(cluster: Cluster) -> dict[str, Answer]:
        await cluster.start()
        async with asyncio.timeout(60):
            await system.ready(cluster)
        brokers = [cluster.address(node.name, client=CLIENT) for node in topology.with_role("broker")]
        answers = await cluster.client_host(CLIENT).spawn(ask(theme, brokers))
        await cluster.stop()
        return answers

    return SimBackend().run(
        scenario, system=system, topology=topology, config=config, bugs=frozenset(), seed=1, folder=None
    )


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
    expected = golden(theme)["answers"][script]
    for answer, (ours, _) in DIFFERENCES.get(theme.name, {}).get(script, {}).items():
        assert expected[answer] != ours, f"{answer} is no difference any more: take it out of the list"
        expected[answer] = ours
    assert bundled(theme)[script] == expected


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
