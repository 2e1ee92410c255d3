"""Transactions (semantics 2.4): the state machine, its coordinator, markers and time-outs."""
