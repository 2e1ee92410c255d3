"""What a node does as one of the N that keep a key."""

from __future__ import annotations

import asyncio

from harness.node import NodeEnvironment
from systems.quorum.messages import Found, Read, Store, Stored, Update
from systems.quorum.storage import Storage
from systems.quorum.versions import Cell, WrongType, canonical, merge
from systems.quorum.versions.crdt import NO_COUNTER, NO_SET, Counter, OrSet, added, counted, removed
from systems.quorum.versions.siblings import EMPTY, Siblings, pruned, put

WRONG_TYPE = "WRONGTYPE"


class Replica:
    def __init__(self, env: NodeEnvironment, storage: Storage) -> None:
        self._env = env
        self._storage = storage
        self.actor = self._counting = ""
        self.renew_actor()

    def renew_actor(self) -> None:
        """In each incarnation, since what an earlier one had not synced may be lost, and its dots with it; and
        whenever cells were dropped."""
        self.actor = f"{self._env.name}-{self._env.random.getrandbits(48):012x}"
        if "actor-reuse-after-amnesia" in self._env.bugs:
            self.actor = self._env.name
        self._counting = "shared" if "pn-actor-shared" in self._env.bugs else self.actor

    async def read(self, request: Read) -> Found:
        held = self._storage.cells.get(request.key)
        await self._storage.settled(request.key)
        return Found(held)

    async def store(self, request: Store) -> Stored:
        if request.hint_for:
            self._env.emit("hint-stored", target=request.hint_for, sloppy=True)
            await self._storage.add_hint(request.hint_for, request.key, request.cell, request.since)
            return Stored()
        held = self._storage.cells.get(request.key)
        blind = (request.purpose == "repair" and "read-repair-blind-overwrite" in self._env.bugs) or (
            request.purpose == "sync" and "ae-pushes-blind" in self._env.bugs
        )
        try:
            merged = request.cell if blind else merge(held, request.cell)
        except WrongType:
            return Stored(WRONG_TYPE)
        if merged == held:
            # It may still be on its way to the disk, for an earlier request.
            await self._storage.settled(request.key)
            return Stored()
        await self._keep(request.key, merged)
        return Stored()

    async def update(self, request: Update) -> Found:
        held = self._storage.cells.get(request.key)
        if "pn-nonatomic-local-inc" in self._env.bugs and request.kind == "count":
            await asyncio.sleep(0.001)
        try:
            held = merge(held, request.base)
        except WrongType:
            return Found(error=WRONG_TYPE)
        changed = self._changed(request, held)
        if changed is None:
            return Found(error=WRONG_TYPE)
        if request.kind == "count":
            await self._storage.count(request.key, int(request.argument), self._counting, changed)
        else:
            await self._keep(request.key, changed)
        return Found(changed)

    def _changed(self, request: Update, held: Cell | None) -> Cell | None:
        match request.kind, held:
            case (("put" | "erase"), (Siblings() | None)):
                context = dict(request.context)
                before = held or EMPTY
                if not context and "put-without-context-overwrites" in self._env.bugs:
                    context = dict(before.clock)
                if "sibling-explosion" in self._env.bugs and context != before.clock:
                    context = {}
                if "stomp-ignores-context" in self._env.bugs:
                    before = Siblings(before.clock, ())
                made = put(before, context, request.argument, self.actor, deleted=request.kind == "erase")
                for bug, newest in (("vclock-pruning", False), ("vclock-prune-newest", True)):
                    if bug in self._env.bugs:
                        made = pruned(made, newest_first=newest)
                if len(made.values) > 1:
                    self._env.emit("siblings", count=len(made.values))
                return made
            case "count", (Counter() | None):
                return counted(held or NO_COUNTER, int(request.argument), self._counting)
            case "add", (OrSet() | None):
                return added(held or NO_SET, str(request.argument), self.actor)
            case "remove", (OrSet() | None):
                return removed(held or NO_SET, str(request.argument))
        return None

    async def _keep(self, key: str, cell: Cell | None) -> None:
        if "delete-as-absence" in self._env.bugs and getattr(cell, "deleted", False):
            cell = None
        await self._storage.keep(key, cell)


def same(a: Cell | None, b: Cell | None) -> bool:
    return a is b or (a is not None and b is not None and canonical(a) == canonical(b))
