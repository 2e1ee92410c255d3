"""What a coordinator cannot do."""

from __future__ import annotations


class Unavailable(Exception):
    """Too few replicas are alive; certainly nothing happened."""


class Timeout(Exception):
    """Too few replicas answered in time; some may have what was sent."""
