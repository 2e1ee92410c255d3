"""The controller quorum: the one place that decides who leads which partition."""
