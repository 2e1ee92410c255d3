"""The engine that the tests of containers need; `.ci/run` installs and starts one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.clusters.docker.base import BASE_NAME, build_base
from harness.clusters.docker.engine import connect
from harness.errors import UserError


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """A client of the engine, which has the base image."""
    try:
        client = connect()
    except UserError as error:
        pytest.skip(str(error))
    if not client.images.list(name=BASE_NAME):
        build_base(client)
    yield client
    client.close()
