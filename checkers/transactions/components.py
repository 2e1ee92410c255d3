"""Strongly connected components, compiled: whatever lies on a cycle lies in a component of two or more."""

from __future__ import annotations

import numpy as np

from checkers.transactions.micro_operations import Ints


def components(nodes: int, source: Ints, target: Ints) -> tuple[Ints, Ints]:
    """The component of every node, and the size of every component. Linear in nodes and edges."""
    if not len(source):
        return np.arange(nodes, dtype=np.int64), np.ones(nodes, dtype=np.int64)
    # Here, because it takes longer to import than most commands take to run.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    matrix = coo_array(
        (np.ones(len(source), dtype=np.float64), (source.astype(np.int32), target.astype(np.int32))),
        shape=(nodes, nodes),
    ).tocsr()
    _, labels = connected_components(matrix, directed=True, connection="strong")
    return labels.astype(np.int64), np.bincount(labels).astype(np.int64)


def cyclic(nodes: int, source: Ints, target: Ints) -> Ints:
    """The component of every node that lies on a cycle, -1 for every other."""
    labels, sizes = components(nodes, source, target)
    return np.where(sizes[labels] > 1, labels, -1)
