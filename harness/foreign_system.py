"""What systems have in common that are made of programs that we did not write (`harness.foreign` runs their nodes)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import ClassVar

from harness.catalogue import Entry
from harness.cluster import Cluster
from harness.errors import UserError
from harness.node import NodeProgram
from harness.settings import Value

POLL_S = 0.2


class ForeignSystem:
    """The part of `harness.system.System` that does not depend on the program. `name` is that of the entry point, and
    of the extra that brings its client, the module `client_module`; `module` is what runs one node."""

    name: ClassVar[str]
    client_module: ClassVar[str]
    module: ClassVar[str]
    profiles: Mapping[str, Mapping[str, Value]] = {}
    playground: Mapping[str, Value] = {}
    bugs: Mapping[str, str] = {}
    catalogue: Sequence[Entry] = ()

    def needs_client(self) -> None:
        """Raises `UserError` where the client is not installed: before anything starts."""
        if find_spec(self.client_module) is None:
            raise UserError(
                f"system '{self.name}' needs its client: pip install 'chaos-harness[{self.name}]'"
            )

    def program(self) -> NodeProgram:
        raise UserError(
            f"system '{self.name}' is a program of its own and cannot be simulated: give --on local"
        )

    def command(self) -> Sequence[str]:
        return ("-m", self.module)

    async def ready(self, cluster: Cluster) -> None:
        await self.recovered(cluster)

    async def recovered(self, cluster: Cluster) -> None:
        while True:
            if await self.whole(cluster):
                return
            await asyncio.sleep(POLL_S)

    async def whole(self, cluster: Cluster) -> bool:
        """Whether all that it is made of is in service, and in agreement."""
        raise NotImplementedError
