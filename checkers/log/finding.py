"""What the kernels hand to the explanation."""

from __future__ import annotations

from typing import Any

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One proven instance of an anomaly. `ops` are history indices, the write first where there is one."""

    name: str
    partition: str
    ops: tuple[int, ...]
    value: Any = None
    offset: int | None = None
    detail: dict[str, Any] = msgspec.field(default_factory=dict)
