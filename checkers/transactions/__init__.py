"""Which isolation level did the clients get? Adya's anomalies, found as Elle finds them (VLDB 2020)."""

from checkers.transactions.checker import ElleChecker

__all__ = ["ElleChecker"]
