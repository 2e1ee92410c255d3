from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """pytest's own is closed to others, and as root the server runs as another user."""
    with tempfile.TemporaryDirectory(prefix="chaos-postgres-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
