"""A checker: a pure function of the history and the declared configuration. Registered under `chaos.checkers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from harness.history import History
from harness.node import NodeEvent
from harness.results import Result


class CheckContext(msgspec.Struct, frozen=True, kw_only=True):
    """What was declared about the run. `events` serve the story of an anomaly, never its verdict."""

    system: str = ""
    workload: str = ""
    config: Mapping[str, Any] = msgspec.field(default_factory=dict)
    bugs: frozenset[str] = frozenset()
    events: Sequence[NodeEvent] = ()
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """`--model` and the like of `chaos check`."""


class Checker(Protocol):
    """A checker of histories too big for one object an event may also have `read(path, context) -> History`, a
    loader of its own: `chaos check FILE` uses it where that checker judges alone. One with settings of its own may
    have `validate(config)`, which raises `UserError` before a run starts."""

    description: str
    anomalies: Mapping[str, str]
    """Every anomaly it can name -> its definition."""

    def check(self, history: History, context: CheckContext) -> Result: ...
