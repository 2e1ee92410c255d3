"""The `exactly-once` checker: did each input contribute exactly once to the committed output?"""

from checkers.exactly_once.checker import ExactlyOnceChecker

__all__ = ["ExactlyOnceChecker"]
