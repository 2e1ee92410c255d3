"""The settings of backend `docker`."""

from __future__ import annotations

from harness.settings import Setting

DEFAULT_BASE = "python:3.12-slim"

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="docker.base",
        default=DEFAULT_BASE,
        doc="On docker: the image that nodes are built on; Debian with Python 3.11 or later",
        scope="harness",
    ),
    Setting(
        name="docker.disk.mb",
        default=128,
        doc="On docker: the size of each node's disk, which is in memory",
        scope="harness",
        minimum=8,
    ),
)
