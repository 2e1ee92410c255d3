"""Operations: what a client did, and what became of it, in Jepsen's model.

`invoke` opens an operation; `ok` (it happened), `fail` (it certainly did not happen) or `info`
(unknown: it may have happened at any time after its invoke, or never) closes it. A process has at
most one open operation and never acts again after an `info`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

OpType = Literal["invoke", "ok", "fail", "info"]
NEMESIS: Final = "nemesis"
"""The process id of fault events."""

Process = int | str


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a history.

    `time` is nanoseconds since the run began (never a wall clock). `extra` holds the fields that ride
    along (`offset`, `partition`, `node`, `txn`, …); on disk they stand beside the others.
    """

    index: int
    time: int
    process: Process
    type: OpType
    f: str
    key: Any = None
    value: Any = None
    error: Any = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def is_fault(self) -> bool:
        return self.process == NEMESIS


class Operation(msgspec.Struct, frozen=True):
    """An invocation with its completion; `completion` is None where the history ended first."""

    invoke: Op
    completion: Op | None

    @property
    def outcome(self) -> Literal["ok", "fail", "info"]:
        """An operation that was never completed counts as `info`."""
        if self.completion is None or self.completion.type == "invoke":
            return "info"
        return self.completion.type

    @property
    def f(self) -> str:
        return self.invoke.f

    @property
    def process(self) -> Process:
        return self.invoke.process

    @property
    def start(self) -> int:
        return self.invoke.time

    @property
    def end(self) -> int | None:
        """Nanoseconds; None while open, and for `info`, which has no known end."""
        if self.completion is None or self.completion.type == "info":
            return None
        return self.completion.time

    @property
    def value(self) -> Any:
        """The completion's value where there is one, else the invocation's."""
        if self.completion is not None and self.completion.value is not None:
            return self.completion.value
        return self.invoke.value
