"""Links between processes that are real: every directed link is a proxy of the harness, which can cut it, slow it and
hold what it carries, without root and on any system.

    links = Links()                                    # a thread with an event loop of its own
    port = await links.open("n1", "n2", address_of_n2)  # what n1 dials to reach n2: (host, port)
    links.cut("n1", "n2", "drop")                       # what n1 says does not arrive; what n2 says does
    links.degrade("n2", "n1", latency_ms=50, jitter_ms=10)
    links.heal("n1", "n2")
    links.close()

A connection that n1 dials carries n1's bytes over the link n1 -> n2 and the answers over n2 -> n1. Clients learn the
nodes' own addresses from the system; `harness.clusters.client_tasks` sends each through the proxies of its host.
"""

from harness.clusters.links.proxies import Links

__all__ = ["Links"]
