"""Nemeses: strategies that turn a topology and randomness into a fault schedule. One file per family."""
