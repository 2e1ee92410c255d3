"""Compare-and-set by consensus: the circle of tokens is cut into ranges, and each is a Raft group of N nodes.

Everything under `conflict=raft` goes through the log of its key's range: writes, conditional writes, deletions; reads
are answered by a leader that a majority has just confirmed (Ongaro's thesis, 6.4). As Spanner and CockroachDB do it.
"""
