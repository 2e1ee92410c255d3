"""`chaos up SYSTEM`: a cluster of real processes on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from harness import registry
from harness.cli import options
from harness.cluster import Cluster
from harness.clusters.local import LocalBackend, LocalCluster
from harness.errors import UserError
from harness.node import NodeEvent
from harness.profiles import with_profile
from harness.settings import resolve as resolve_settings
from harness.system import System
from harness.timeouts import SETTINGS
from harness.topology import Topology

CLIENT = "client-0"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command("up")
@click.argument("system")
@click.option("--nodes", type=click.IntRange(min=1), default=3, show_default=True)
@options.profile
@options.settings
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Data and logs.  [default: temporary]")
@options.as_json
@options.debug
def command(
    system: str, nodes: int, profile: str, settings: tuple[str, ...], folder: Path | None, as_json: bool
) -> int:
    """Start a local cluster, print where clients reach it, and run it until Ctrl-C.

    A node that ends by itself, or that you kill, is told on stderr; the others go on. A cluster started
    anew in the same --dir finds its data again.
    """
    loaded: System = registry.load("systems", system)
    chosen = with_profile(profile, options.parse_settings(settings), system, loaded)
    given = {**loaded.playground, **chosen}
    config = dict(resolve_settings([*loaded.settings, *SETTINGS], given))
    topology = Topology(nodes=loaded.nodes(nodes, config), clients=(CLIENT,))
    loaded.validate(topology, config)
    where = _place(system, folder)
    # Another one each time: nodes that come back to their data must not draw their old identities again.
    seed = secrets.randbelow(2**31)

    async def serve(cluster: Cluster) -> None:
        assert isinstance(cluster, LocalCluster)
        cluster.on_event(_tell)
        try:
            with _cancelled_by(STOPPING):
                await cluster.start()
                try:
                    async with asyncio.timeout(int(config["ready.timeout.ms"]) / 1000):
                        await loaded.ready(cluster)
                except TimeoutError:
                    raise UserError(
                        f"system '{system}' was not ready within ready.timeout.ms="
                        f"{config['ready.timeout.ms']}: see the logs in {where}"
                    ) from None
                _announce(cluster, where, as_json)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            click.echo("stopping", err=True)
        finally:
            await cluster.stop()

    LocalBackend().run(
        serve, system=loaded, topology=topology, config=config, bugs=frozenset(), seed=seed, folder=where
    )
    if folder is None:
        # Kept where the cluster did not start: its logs are the only clue.
        shutil.rmtree(where)
    return 0


def _place(system: str, folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix=f"chaos-{system}-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}: give another --dir") from None
    return folder


@contextlib.contextmanager
def _cancelled_by(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """The current task is cancelled by the first signal; a second one does what it does to any program."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        release()
        task.cancel()

    def release() -> None:
        for one in signals:
            loop.remove_signal_handler(one)

    for one in signals:
        loop.add_signal_handler(one, cancel)
    try:
        yield
    finally:
        release()


def _announce(cluster: LocalCluster, where: Path, as_json: bool) -> None:
    serving = cluster.topology.with_role(cluster.topology.nodes[0].role)
    bootstrap = ",".join(_reached(cluster, node.name) for node in serving)
    nodes = [
        {"name": n.name, "role": n.role, "address": _reached(cluster, n.name), "pid": cluster.pid(n.name)}
        for n in cluster.topology.nodes
    ]
    if as_json:
        told = {"bootstrap_servers": bootstrap, "dir": str(where), "nodes": nodes}
        click.echo(msgspec.json.encode(told).decode())
        return
    click.echo(f"bootstrap servers: {bootstrap}")
    for node in nodes:
        click.echo("  {name:<4} {role:<11} {address:<17} pid {pid}".format(**node))
    click.echo(f"data and logs: {where}")
    click.echo("Ctrl-C stops the cluster")


def _reached(cluster: LocalCluster, node: str) -> str:
    address = cluster.address(node, client=CLIENT)
    return f"{address.host}:{address.port}"


def _tell(event: NodeEvent) -> None:
    if event.kind == "exited":
        click.echo(f"chaos: node {event.node} ended: {event.fields['error']}", err=True)
