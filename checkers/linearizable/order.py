"""The certificate of a valid verdict: one legal order of a key's operations, read off its zones.

`verify.legal_order` checks it without trusting anything here.
"""

from __future__ import annotations

from bisect import bisect_right

from checkers.linearizable.evidence import Clusters
from checkers.linearizable.zones import Zones


def order_of(found: Zones) -> list[int]:
    """Rows of one key that is not broken, without the writes that nobody saw and that may not have happened."""
    assert not len(found.broken()), "there is no order to be read off"
    clusters = Clusters(found)
    low, high = found.low.tolist(), found.high.tolist()
    forward = sorted((low[root], high[root], root) for root in clusters.chain if low[root] < high[root])
    placed: list[tuple[float, int]] = [(begin, root) for begin, _, root in forward]
    for root in clusters.chain:
        if low[root] < high[root]:
            continue
        point: float = high[root]
        before = bisect_right(forward, (point, 0, 0)) - 1
        if before >= 0 and point < forward[before][1]:
            # Right behind the zone that covers its beginning.
            point = forward[before][1] + 0.5
        placed.append((point, root))
    rows: list[int] = []
    for _, root in sorted(placed):
        for writer in sorted(clusters.chain[root], key=lambda n: clusters.depth[n]):
            rows.append(clusters.writers[writer].row)
            rows += [read.row for read in sorted(clusters.reads[writer], key=lambda m: m.start)]
    return [row for row in rows if row >= 0]
