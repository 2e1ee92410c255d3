"""Redis as a system under test: servers that replicate asynchronously, and Sentinels that choose the primary.

`system` is the harness's side, `node` runs one server or Sentinel, `client` speaks for the workloads.
"""

SERVICE = "main"
"""The name under which the Sentinels know the primary and its replicas."""
SERVER, SENTINEL = "server", "sentinel"
"""Roles of the nodes."""
