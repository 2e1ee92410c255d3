"""etcd as a system under test: one Raft group, spoken to through the JSON gateway of its client port.

`system` is the harness's side, `node` runs one member, `client` speaks for the workloads.
"""

ROLE = "member"
GROUP = "etcd"
"""The argument of selectors: `leader(etcd)`."""
PEER = "peer"
"""The further port of a member, on which the others reach it."""
