"""What a replica keeps of a key. Two of them meet only in `merge`: commutative, associative, idempotent."""

from __future__ import annotations

from systems.quorum.versions.cell import Cell, WrongType, canonical, merge, tombstone

__all__ = ["Cell", "WrongType", "canonical", "merge", "tombstone"]
