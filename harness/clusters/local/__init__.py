"""Backend `local`: every node a process on this machine, every link a proxy of the harness."""

from harness.clusters.local.backend import LocalBackend
from harness.clusters.local.cluster import LocalCluster

__all__ = ["LocalBackend", "LocalCluster"]
