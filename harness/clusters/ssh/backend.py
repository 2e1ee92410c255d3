"""Backend `ssh`: a node on each host of an inventory."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from harness.cluster import Scenario
from harness.clusters.client_tasks import ClientLoop
from harness.clusters.ssh.cluster import CAPABILITIES, SshCluster, capabilities_with
from harness.clusters.ssh.inventory import read_inventory
from harness.clusters.ssh.leftovers import found
from harness.clusters.ssh.settings import DEFAULT_INVENTORY
from harness.errors import UserError
from harness.leftovers import Leftover
from harness.topology import Topology

T = TypeVar("T")
LIBRARY = "pip install 'chaos-harness[ssh]'"


class SshBackend:
    description = "a node on each host of an inventory, over SSH"
    capabilities = CAPABILITIES

    def capabilities_with(self, system: Any) -> frozenset[str]:
        return capabilities_with(system)

    def sets_clocks(self, config: Mapping[str, Any]) -> bool:
        """Where the inventory calls every host disposable. One that cannot be read is told when the run begins, like
        everything else about it."""
        try:
            hosts = read_inventory(Path(str(config["ssh.inventory"])))
        except UserError:
            return True
        return all(host.disposable for host in hosts)

    def check(self) -> list[tuple[str, bool, str]]:
        there = find_spec("paramiko") is not None
        try:
            read_inventory(Path(DEFAULT_INVENTORY))
            inventory = ""
        except UserError as error:
            inventory = str(error)
        return [
            ("Python package paramiko", there, LIBRARY),
            (f"an inventory of hosts ({DEFAULT_INVENTORY})", not inventory, inventory),
        ]

    def leftovers(self) -> list[Leftover]:
        """On the hosts of the inventory of this folder."""
        if find_spec("paramiko") is None:
            return []
        try:
            hosts = read_inventory(Path(DEFAULT_INVENTORY))
        except UserError:
            return []
        return found(hosts)

    def run(
        self,
        scenario: Scenario[T],
        *,
        system: Any,
        topology: Topology,
        config: dict[str, Any],
        bugs: frozenset[str],
        seed: int,
        folder: Path | None,
    ) -> T:
        if find_spec("paramiko") is None:
            raise UserError(f"backend 'ssh' needs paramiko: {LIBRARY}")
        hosts = read_inventory(Path(str(config["ssh.inventory"])))
        with contextlib.ExitStack() as stack:
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-ssh-")))
            cluster = SshCluster(hosts, system, topology, config, bugs, seed, folder.resolve())
            stack.callback(cluster.close_now)
            runner = stack.enter_context(asyncio.Runner(loop_factory=lambda: _loop(cluster)))
            return runner.run(_through(scenario, cluster))


def _loop(cluster: SshCluster) -> ClientLoop:
    loop = ClientLoop()
    loop.route = cluster.route
    return loop


async def _through(scenario: Scenario[T], cluster: SshCluster) -> T:
    return await scenario(cluster)
