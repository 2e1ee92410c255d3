"""Backend `docker`: a container a node on a private network."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from harness.cluster import Scenario
from harness.clusters.client_tasks import ClientLoop
from harness.clusters.docker.cluster import CAPABILITIES, DockerCluster
from harness.clusters.docker.engine import connect
from harness.clusters.docker.image import base_at_hand, node_image, poor_links
from harness.clusters.docker.leftovers import found, old_images
from harness.errors import UserError
from harness.leftovers import Leftover
from harness.schedule import THROUGH_ENVIRONMENT
from harness.system import Foreign
from harness.topology import Topology

T = TypeVar("T")

ENGINE = "a Docker engine on this machine"


class DockerBackend:
    description = "a container a node, on a private network of a Docker engine"
    capabilities = CAPABILITIES

    def capabilities_with(self, system: Any) -> frozenset[str]:
        return CAPABILITIES - THROUGH_ENVIRONMENT if isinstance(system, Foreign) else CAPABILITIES

    def check(self) -> list[tuple[str, bool, str]]:
        try:
            client = connect()
        except UserError as error:
            return [(ENGINE, False, str(error))]
        with contextlib.closing(client):
            return [(ENGINE, True, ""), base_at_hand(client), *poor_links(client)]

    def leftovers(self) -> list[Leftover]:
        try:
            client = connect()
        except UserError:
            return []
        return [*found(client), *old_images(client)]

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
        with contextlib.ExitStack() as stack:
            stack.enter_context(_room())
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-docker-")))
            client = connect()
            stack.callback(client.close)
            image = node_image(client, system, config)
            cluster = DockerCluster(client, image, system, topology, config, bugs, seed, folder.resolve())
            stack.callback(_remove_quietly, cluster)
            runner = stack.enter_context(asyncio.Runner(loop_factory=ClientLoop))
            return runner.run(_through(scenario, cluster))


async def _through(scenario: Scenario[T], cluster: DockerCluster) -> T:
    return await scenario(cluster)


def _remove_quietly(cluster: DockerCluster) -> None:
    """The verdict, or the error that ended the run, counts more than what could not be removed: `chaos doctor --clean`
    finds it."""
    with contextlib.suppress(UserError):
        cluster.remove()


@contextlib.contextmanager
def _room() -> Any:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"no space left on this machine's disk ({error.filename or 'run folder or image'})"
        ) from None
