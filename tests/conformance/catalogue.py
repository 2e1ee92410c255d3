"""All scripts by theme, and which theme is asked of which kind of cluster."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from harness.node import Address

from .scripts import (
    consumer_protocol,
    fencing,
    groups,
    groups_administered,
    idempotence,
    looked_at,
    metadata,
    newer_clients_on_version_1,
    producing,
    quotas,
    reading,
    rebalances,
    refusals,
    removing,
    topics_changed,
    transactional_offsets,
    transactions,
    transactions_of_older_clients,
)
from .session import Answer, Session

Script = Callable[[Session], Awaitable[Answer]]

GOLDEN = Path(__file__).parent / "golden"
SCRIPT_TIMEOUT_S = 60.0


class Theme(NamedTuple):
    """A module of scripts, and the `transaction.version` of the cluster that it is asked of."""

    module: ModuleType
    transaction_version: int = 2

    @property
    def name(self) -> str:
        """Also its golden file's."""
        name = self.module.__name__.rpartition(".")[2]
        return (
            name
            if self.transaction_version == 2
            else f"{name}-transaction-version-{self.transaction_version}"
        )

    @property
    def scripts(self) -> dict[str, Script]:
        """In the order of the file."""
        return {
            name: function
            for name, function in vars(self.module).items()
            if inspect.iscoroutinefunction(function)
            and function.__module__ == self.module.__name__
            and not name.startswith("_")
        }

    @property
    def golden(self) -> Path:
        return GOLDEN / f"{self.name}.json"


THEMES = (
    Theme(metadata),
    Theme(producing),
    Theme(idempotence),
    Theme(reading),
    Theme(removing),
    Theme(transactions),
    Theme(consumer_protocol),
    Theme(fencing),
    Theme(transactions_of_older_clients),
    Theme(transactions_of_older_clients, transaction_version=1),
    Theme(newer_clients_on_version_1, transaction_version=1),
    Theme(transactional_offsets),
    Theme(transactional_offsets, transaction_version=1),
    Theme(groups),
    Theme(rebalances),
    Theme(topics_changed),
    Theme(groups_administered),
    Theme(looked_at),
    Theme(quotas),
    Theme(refusals),
)


async def ask(theme: Theme, bootstrap: Sequence[Address]) -> dict[str, Answer]:
    """Runs the theme's scripts one after another. A script that fails answers with what went wrong."""
    answers: dict[str, Answer] = {}
    for name, script in theme.scripts.items():
        session = Session(f"{theme.name}.{name}", bootstrap)
        try:
            async with asyncio.timeout(SCRIPT_TIMEOUT_S):
                answers[name] = await script(session)
        except Exception as error:
            answers[name] = {"failed": f"{type(error).__name__}: {error}"}
        finally:
            session.close()
    return answers
