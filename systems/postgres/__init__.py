"""PostgreSQL as a system under test: a cluster of its own, made in the run's folder.

Nodes: `pg1`, which is the first primary, and with `standby=streaming` `pg2`, which follows it. One of the two may be
promoted when the other is dead; who comes back to find another primary throws its data away and follows.
"""

from typing import Final

ROLE: Final = "server"
GROUP: Final = "postgres"
"""The argument of selectors such as `leader(postgres)`: there is one group of servers."""
STREAMING: Final = "streaming"
