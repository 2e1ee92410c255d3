"""`chaos … --on local`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from harness.cluster import Scenario
from harness.clusters.client_tasks import ClientLoop
from harness.clusters.local.cluster import CAPABILITIES, LocalCluster, capabilities_with
from harness.foreign import missing_programs

T = TypeVar("T")
OPEN_FILES = 1_024
"""Every connection takes three in the harness: the client's own, and the two of its proxy."""


class LocalBackend:
    description = "real processes on this machine, every link through a proxy of the harness"
    capabilities = CAPABILITIES

    def capabilities_with(self, system: Any) -> frozenset[str]:
        return capabilities_with(system)

    def check(self) -> list[tuple[str, bool, str]]:
        if sys.platform == "win32":
            return [("SIGSTOP and process groups (POSIX)", False, "use Linux or macOS")]
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        enough = soft == resource.RLIM_INFINITY or soft >= OPEN_FILES
        return [
            ("SIGSTOP and process groups (POSIX)", True, ""),
            (f"{OPEN_FILES} open files, for the links", enough, f"ulimit -n {OPEN_FILES}"),
        ]

    def run(
        self,
        scenario: Scenario[T],
        *,
        system: Any,
        topology: Any,
        config: dict[str, Any],
        bugs: frozenset[str],
        seed: int,
        folder: Path | None,
    ) -> T:
        if missing := missing_programs(system):
            raise missing
        with contextlib.ExitStack() as stack:
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-local-")))
            cluster = LocalCluster(system, topology, config, bugs, seed, folder.resolve())
            stack.callback(cluster.end)
            runner = stack.enter_context(asyncio.Runner(loop_factory=lambda: _loop(cluster)))
            return runner.run(_through(scenario, cluster))


def _loop(cluster: LocalCluster) -> ClientLoop:
    loop = ClientLoop()
    loop.route = cluster.route
    return loop


async def _through(scenario: Scenario[T], cluster: LocalCluster) -> T:
    return await scenario(cluster)
