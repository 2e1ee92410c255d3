"""Backend `docker`: every node a container on a private network, with a disk and a firewall of its own.

| file | |
|---|---|
| `backend.py` | what `--on docker` is: requirements, one run from network to cleanup |
| `cluster.py` | the fault surface |
| `node.py` | one node: two containers, as in a Kubernetes pod |
| `links.py` | links between nodes, and between clients and nodes |
| `asking.py` | what the harness asks of a sandbox |
| `sandbox.py` | the program of a node's first container: it holds the node's network and disk, and breaks them |
| `attached.py` | standard streams of a container |
| `image.py`, `packages.py`, `base.py` | what the containers run |
| `engine.py` | the way to the Docker engine, and its errors in words |
| `leftovers.py` | what a dead harness left behind |

A node is two containers so that a killed node comes back to the same network, with the same address, the same
rules in force and the same disk: as a machine whose process died. Only the first may touch its firewall.
"""
