"""Anti-entropy: every ordered pair of nodes compares Merkle trees over the keys that both keep, and both merge.

A tree of two levels: leaves are hashes over the canonical bytes of the cells of the keys in them, the root is a hash
over the leaves. Equal roots end a round.

A tombstone that is old enough to be forgotten is never brought to a node that has nothing of the key: it may have
forgotten it a moment ago, and would hand it back in the next round, for ever.
"""

from __future__ import annotations

import asyncio
import hashlib

from harness.node import NodeEnvironment
from systems.quorum.liveness import Liveness
from systems.quorum.membership.service import Membership
from systems.quorum.messages import Compare, Differing, Store
from systems.quorum.replica import Replica
from systems.quorum.ring import token
from systems.quorum.storage import Storage
from systems.quorum.tombstones import old_enough
from systems.quorum.versions import Cell, canonical

LEAVES = 64


class AntiEntropy:
    def __init__(
        self,
        env: NodeEnvironment,
        membership: Membership,
        storage: Storage,
        replica: Replica,
        liveness: Liveness,
    ) -> None:
        self._env = env
        self._membership = membership
        self._storage = storage
        self._replica = replica
        self._liveness = liveness
        self._interval_s = int(env.config["anti.entropy.interval.ms"]) / 1000
        self._hashes: dict[str, bytes] = {}
        self.differing: dict[str, int] = {}
        """Peer -> cells that the last round with it had to bring here or there."""
        self.rounds: dict[str, int] = {}
        """Peer -> rounds since this node began."""

    async def run(self) -> None:
        if not self._interval_s:
            return
        at = 0
        while True:
            peers = [node for node in self._membership.state.members if node != self._env.name]
            share = self._interval_s / max(1, len(peers))
            await asyncio.sleep(share * (0.8 + 0.4 * self._env.random.random()))
            if not peers or not self._membership.serving:
                continue
            peer = peers[at % len(peers)]
            at += 1
            if self._liveness.alive(peer):
                try:
                    await self.round(peer)
                except (OSError, TimeoutError):
                    continue

    async def round(self, peer: str) -> None:
        """Raises OSError or TimeoutError where the peer does not answer."""
        epoch = self._membership.epoch
        leaves = self._leaves(peer)
        compare = Compare(self._env.name, _root(leaves), tuple(leaves), epoch)
        answer: Differing = await self._membership.ask(peer, compare)
        moved = 0
        for key, cell in answer.cells:
            if self._membership.epoch != epoch:
                raise ConnectionAbortedError("the ring is another one")
            held = self._storage.cells.get(key)
            if held != cell and not (held is None and old_enough(self._env, cell)):
                moved += 1
                await self._replica.store(Store(key, cell, purpose="sync"))
        theirs = dict(answer.cells)
        for key, cell in self._in_leaves(peer, answer.leaves):
            if theirs.get(key) != cell and not (key not in theirs and old_enough(self._env, cell)):
                moved += 1
                await self._membership.ask(peer, Store(key, cell, purpose="sync", epoch=epoch))
        if moved:
            self._env.emit("merkle-repair", peer=peer, cells=moved)
        self.differing[peer] = moved
        self.rounds[peer] = self.rounds.get(peer, 0) + 1

    def compare(self, request: Compare) -> Differing:
        mine = self._leaves(request.node)
        if _root(mine) == request.root:
            return Differing()
        different = tuple(at for at, (a, b) in enumerate(zip(mine, request.leaves, strict=True)) if a != b)
        return Differing(different, tuple(self._in_leaves(request.node, different)))

    def _leaves(self, peer: str) -> list[bytes]:
        sums = [hashlib.blake2b(digest_size=16) for _ in range(LEAVES)]
        self._refresh()
        for key in self._common(peer):
            sums[token(key) % LEAVES].update(self._hashes[key])
        return [s.digest() for s in sums]

    def _common(self, peer: str) -> list[str]:
        both = []
        placement = self._membership.placement
        for key in sorted(self._storage.cells):
            nodes = placement.writers(key)
            if peer in nodes and self._env.name in nodes:
                both.append(key)
        return both

    def _in_leaves(self, peer: str, leaves: tuple[int, ...]) -> list[tuple[str, Cell]]:
        wanted = frozenset(leaves)
        return [(k, self._storage.cells[k]) for k in self._common(peer) if token(k) % LEAVES in wanted]

    def _refresh(self) -> None:
        """Hashes of the keys that changed."""
        changed = list(self._storage.changed)
        self._storage.changed.clear()
        for key in changed:
            if "merkle-stale-tree" in self._env.bugs and key in self._hashes:
                continue
            cell = self._storage.cells.get(key)
            if cell is None:
                self._hashes.pop(key, None)
                continue
            body = canonical(cell)
            if "merkle-hash-omits-metadata" in self._env.bugs:
                body = repr(getattr(cell, "value", "")).encode()
            self._hashes[key] = hashlib.blake2b(key.encode() + b"\0" + body, digest_size=16).digest()


def _root(leaves: list[bytes]) -> bytes:
    return hashlib.blake2b(b"".join(leaves), digest_size=16).digest()
