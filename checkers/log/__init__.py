"""The `log` checker: observations from the history, one kernel an anomaly family, and the explanation."""

from checkers.log.checker import LogChecker

__all__ = ["LogChecker"]
