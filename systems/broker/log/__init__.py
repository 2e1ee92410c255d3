"""The log of one partition on a node's disk: batches, segments, epochs, recovery."""
