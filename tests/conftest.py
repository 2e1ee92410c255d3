"""Makes the test plug-ins of tests/plugins known to the registry, here and in subprocesses, the way any
installed distribution is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry

PLUGINS = str(Path(__file__).parent / "plugins")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers system `toy-bag`, workload `bag` and their companions."""
    monkeypatch.syspath_prepend(PLUGINS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (PLUGINS, os.environ.get("PYTHONPATH")))))
    registry._points.cache_clear()
    yield
    registry._points.cache_clear()
    sys.modules.pop("toy_bag", None)
