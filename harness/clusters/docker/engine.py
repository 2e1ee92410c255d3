"""The way to the Docker engine, and what can be wrong with it in words.

The client library is imported where it is used: it is an extra, `pip install 'chaos-harness[docker]'`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from harness.errors import UserError

INSTALL = "pip install 'chaos-harness[docker]'"
TIMEOUT_S = 60
CONNECTIONS = 64
"""One for each attached container, and those of calls that run side by side."""


def connect() -> Any:
    """A client of the engine that `DOCKER_HOST` or the default socket names. Raises `UserError` that says what to do."""
    if find_spec("docker") is None:
        raise UserError(f"backend 'docker' needs the Python package docker: {INSTALL}")
    import docker
    import requests

    try:
        client = docker.from_env(timeout=TIMEOUT_S, max_pool_size=CONNECTIONS)
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise UserError(_unreachable(str(error))) from None
    if not client.api.base_url.startswith(("http+docker://", "http://localhost")):
        raise UserError(
            f"the Docker engine at {client.api.base_url} is on another machine: chaos shares folders with its "
            "containers and needs one on this machine (unset DOCKER_HOST)"
        )
    return client


def _unreachable(error: str) -> str:
    if "Permission denied" in error or "PermissionError" in error:
        return (
            "no permission for the Docker engine's socket: add yourself to its group "
            "(sudo usermod -aG docker $USER, then log in again), or run as root"
        )
    return (
        "no Docker engine answers: start it (sudo systemctl start docker, or sudo dockerd &), install it "
        f"(sudo apt-get install docker.io), or set DOCKER_HOST; it said: {error.splitlines()[0]}"
    )


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Errors of the engine while it does something become a `UserError` of one line."""
    import docker
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        said = getattr(error, "explanation", None) or str(error)
        advice = ": remove what runs left behind with chaos doctor --clean" if "address pool" in said else ""
        raise UserError(
            f"the Docker engine could not {doing}: {' '.join(str(said).split())}{advice}"
        ) from None
