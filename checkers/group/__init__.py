"""Checker `group`: what a consumer group did with each record, from the turns of its members and its effects."""

from checkers.group.checker import GroupChecker

__all__ = ["GroupChecker"]
