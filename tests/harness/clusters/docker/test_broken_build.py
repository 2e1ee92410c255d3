"""An image whose build fails at a step: one message with the end of the build's log, and no container of it stays."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.clusters.docker.base import BASE_NAME

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("toy")]

TAG = "chaos-test-no-mirror:latest"
NO_MIRROR = f"""
FROM {BASE_NAME}
RUN rm -f "$(command -v iptables)"; \\
    printf '#!/bin/sh\\necho E: the mirror is gone; exit 100\\n' >/usr/bin/apt-get; chmod +x /usr/bin/apt-get
"""


@pytest.fixture
def base_without_a_mirror(engine: Any) -> Iterator[str]:
    engine.images.build(fileobj=io.BytesIO(NO_MIRROR.encode()), tag=TAG, rm=True, forcerm=True)
    yield TAG
    engine.images.remove(TAG, force=True)


def test_a_step_that_fails_is_told_with_the_end_of_its_log(
    tmp_path: Path, engine: Any, base_without_a_mirror: str
) -> None:
    told = subprocess.run(
        [
            *(sys.executable, "-c", "from harness.cli import main; main()", "test", "--system", "toy-bag"),
            *("--workload", "bag", "--on", "docker", "--out", str(tmp_path)),
            *("--set", f"docker.base={base_without_a_mirror}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 2
    first, *log = told.stderr.splitlines()
    assert first.startswith("chaos: the Docker engine could not build the node image: ")
    assert "returned a non-zero code: 100" in first
    assert "    E: the mirror is gone" in log
    assert len(log) <= 6
    assert told.stdout == ""
    left = engine.containers.list(all=True, filters={"ancestor": TAG}, ignore_removed=True)
    assert [container.name for container in left] == []
