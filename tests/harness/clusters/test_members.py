"""Who is a member already is not launched, who is none not retired: the same on every backend of real processes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from harness.clusters.docker.cluster import DockerCluster
from harness.clusters.local.cluster import LocalCluster
from harness.clusters.ssh.cluster import SshCluster

CLUSTERS = (LocalCluster, DockerCluster, SshCluster)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_only_a_spare_is_launched_and_only_a_member_retired(cluster: Any) -> None:
    # Whatever else they have is not to be touched: nothing else is here.
    there = SimpleNamespace(_members={"n1": True})
    launched = asyncio.run(cluster.launch(there, "n1"))
    assert (launched.verified, launched.detail) == (False, "n1 is a member already")
    retired = asyncio.run(cluster.retire(there, "n2"))
    assert (retired.verified, retired.detail) == (False, "n2 is no member")
