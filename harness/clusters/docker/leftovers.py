"""What runs leave in the engine: containers, networks and volumes with the label of the run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.clusters.docker.engine import explained
from harness.errors import UserError
from harness.leftovers import Leftover
from harness.run_id import LABEL

AT_ONCE = 8
NODE_IMAGE = "chaos.image=node"
"""Label of the images that `harness.clusters.docker.image` builds."""


def remove_run(client: Any, run: str) -> None:
    """Raises `UserError`, once all is removed that can be."""
    errors: list[UserError] = []

    def remove(leftover: Leftover) -> None:
        try:
            leftover.remove()
        except UserError as error:
            errors.append(error)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for step in _steps(client, f"{LABEL}={run}"):
            list(pool.map(remove, step))
    if errors:
        raise errors[0]


def found(client: Any, label: str = LABEL) -> list[Leftover]:
    """Everything with the label, in an order in which it can be removed. Raises `UserError`."""
    return [leftover for step in _steps(client, label) for leftover in step]


def old_images(client: Any) -> list[Leftover]:
    """Images of nodes that no container uses, but the newest: every change of the source makes another."""
    with explained("list the images of nodes"):
        images = client.images.list(filters={"label": NODE_IMAGE})
        used = {
            container.attrs["Image"] for container in client.containers.list(all=True, ignore_removed=True)
        }
    newest_first = sorted(images, key=lambda image: str(image.attrs["Created"]), reverse=True)
    return [
        Leftover(
            f"image {', '.join(image.tags) or image.id}",
            "",
            _removing(client.images.remove, image=image.id, force=True),
            shared=True,
        )
        for image in newest_first[1:]
        if image.id not in used
    ]


def _steps(client: Any, label: str) -> list[list[Leftover]]:
    """What can be removed side by side, step by step: a node's container uses the network of its sandbox."""
    with explained("list what runs left behind"):
        filters = {"label": label}
        containers = client.containers.list(all=True, filters=filters, ignore_removed=True)
        networks = client.networks.list(filters=filters)
        volumes = client.volumes.list(filters=filters)
    held = [
        (
            c.name.endswith("-sandbox"),
            Leftover(f"container {c.name}", c.labels[LABEL], _removing(c.remove, force=True)),
        )
        for c in containers
    ]
    return [
        [leftover for is_sandbox, leftover in held if not is_sandbox],
        [leftover for is_sandbox, leftover in held if is_sandbox],
        [
            *(Leftover(f"network {n.name}", n.attrs["Labels"][LABEL], _removing(n.remove)) for n in networks),
            *(
                Leftover(f"volume {v.name}", v.attrs["Labels"][LABEL], _removing(v.remove, force=True))
                for v in volumes
            ),
        ],
    ]


def _removing(remove: Callable[..., None], **how: Any) -> Callable[[], None]:
    """Whatever somebody else removed first is gone, too."""

    def removed() -> None:
        import docker

        with explained("remove what a run left behind"):
            try:
                remove(**how)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if "already in progress" not in str(error):
                    raise

    return removed
