"""What runs leave in the engine: containers, networks and volumes with the label of the run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from harness.clusters.docker.engine import explained
from harness.run_id import LABEL as RUN


def remove_run(client: Any, run: str) -> list[str]:
    """Removes all that carries the label of this run; the names of what was removed."""
    return [name for name, remove in found(client, f"{RUN}={run}") if _done(remove)]


def found(client: Any, label: str) -> Iterator[tuple[str, Any]]:
    """Name and removal of everything with the label, in an order in which it can be removed."""
    with explained("list what runs left behind"):
        filters = {"label": label}
        containers = client.containers.list(all=True, filters=filters, ignore_removed=True)
        # The node's container uses the network of its sandbox.
        for container in sorted(containers, key=lambda c: c.name.endswith("-sandbox")):
            yield f"container {container.name}", lambda c=container: c.remove(force=True, v=False)
        for network in client.networks.list(filters=filters):
            yield f"network {network.name}", network.remove
        for volume in client.volumes.list(filters=filters):
            yield f"volume {volume.name}", lambda v=volume: v.remove(force=True)


def _done(remove: Any) -> bool:
    """False where somebody else removed it first."""
    import docker

    with contextlib.suppress(docker.errors.NotFound), explained("remove what a run left behind"):
        remove()
        return True
    return False
