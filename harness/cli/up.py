"""`chaos up SYSTEM`: a cluster of real processes on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import click

from harness import registry
from harness.cli import options
from harness.cluster import Cluster
from harness.errors import UserError
from harness.node import NodeEvent
from harness.settings import resolve as resolve_settings
from harness.system import System
from harness.timeouts import SETTINGS
from harness.topology import Topology

CLIENT = "client-0"


@click.command("up")
@click.argument("system")
@click.option("--nodes", type=click.IntRange(min=1), default=3, show_default=True)
@options.settings
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Data and logs.  [default: temporary]")
@options.debug
def command(system: str, nodes: int, settings: tuple[str, ...], folder: Path | None) -> int:
    """Start a local cluster, print where clients reach it, and run it until Ctrl-C."""
    loaded: System = registry.load("systems", system)
    config = dict(resolve_settings([*loaded.settings, *SETTINGS], options.parse_settings(settings)))
    topology = Topology(nodes=loaded.nodes(nodes, config), clients=(CLIENT,))
    loaded.validate(topology, config)

    async def serve(cluster: Cluster) -> None:
        cluster.on_event(_ignore)
        await cluster.start()
        try:
            async with asyncio.timeout(int(config["ready.timeout.ms"]) / 1000):
                await loaded.ready(cluster)
        except TimeoutError:
            raise UserError(f"system '{system}' was not ready in time: see the logs in {where}") from None
        _announce(cluster, topology, where)
        await asyncio.Event().wait()

    def run(place: Path) -> None:
        registry.load("backends", "local").run(
            serve,
            system=loaded,
            topology=topology,
            config=config,
            bugs=frozenset(),
            seed=0,
            folder=place,
        )

    try:
        if folder is not None:
            where = folder
            folder.mkdir(parents=True, exist_ok=True)
            run(folder)
        else:
            with tempfile.TemporaryDirectory(prefix=f"chaos-{system}-") as temporary:
                where = Path(temporary)
                run(where)
    except KeyboardInterrupt:
        click.echo("stopped")
    return 0


def _announce(cluster: Cluster, topology: Topology, where: Path) -> None:
    role = topology.nodes[0].role
    serving = [cluster.address(n.name, client=CLIENT) for n in topology.with_role(role)]
    click.echo("bootstrap servers: " + ",".join(f"{a.host}:{a.port}" for a in serving))
    click.echo(f"data and logs: {where}")
    click.echo("Ctrl-C stops the cluster")


def _ignore(event: NodeEvent) -> None:
    return None
