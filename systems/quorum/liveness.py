"""Gossip: heartbeats and the ring; and who is alive by it: a phi accrual failure detector (Hayashibara et al. 2004) over their arrivals.

Phi is the negative decimal logarithm of the probability that a heartbeat comes even later, under an exponential
distribution of the intervals seen, as in Cassandra. All intervals are monotonic: no wall clock takes part.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from harness.node import NodeEnvironment
from systems.quorum.membership.service import Membership
from systems.quorum.messages import Beat

WINDOW = 100
FLOOR_INTERVALS = 1.0
"""Intervals shorter than this many gossip rounds do not make the detector nervous."""


class Detector:
    """Arrivals of one peer's heartbeats."""

    def __init__(self, floor_s: float) -> None:
        self._floor_s = floor_s
        self._intervals: deque[float] = deque(maxlen=WINDOW)
        self._last: float | None = None

    def heard(self, now: float) -> None:
        if self._last is not None:
            self._intervals.append(now - self._last)
        self._last = now

    def forget(self) -> None:
        """A new incarnation: silence during its restart says nothing of its rhythm."""
        self._last = None

    def phi(self, now: float) -> float:
        """Infinite for a peer that was never heard."""
        if self._last is None:
            return math.inf
        mean = sum(self._intervals) / len(self._intervals) if self._intervals else 0.0
        return (now - self._last) / max(mean, self._floor_s) / math.log(10)


class Liveness:
    def __init__(
        self,
        env: NodeEnvironment,
        peers: tuple[str, ...],
        membership: Membership,
        send: Callable[[str, Beat], None],
    ) -> None:
        self._env = env
        self._peers = peers
        self._membership = membership
        self._send = send
        self._interval_s = int(env.config["gossip.interval.ms"]) / 1000
        self._threshold = float(env.config["phi.convict.threshold"])
        self._beats: dict[str, tuple[int, int]] = {env.name: (env.wall_clock.time_ns(), 0)}
        self._detectors = {p: Detector(FLOOR_INTERVALS * self._interval_s) for p in peers}
        self._alive: dict[str, bool] = dict.fromkeys(peers, False)
        self._down_since: dict[str, float] = {}
        self._listeners: list[Callable[[str], None]] = []

    def on_alive(self, listener: Callable[[str], None]) -> None:
        """Called with the name of a peer that is back (or there for the first time)."""
        self._listeners.append(listener)

    def alive(self, node: str) -> bool:
        return node == self._env.name or self._alive.get(node, False)

    def down_ms(self, node: str) -> float:
        since = self._down_since.get(node)
        return 0.0 if since is None else (asyncio.get_running_loop().time() - since) * 1000

    def heard(self, beat: Beat) -> None:
        self._membership.adopt(beat.ring)
        now = asyncio.get_running_loop().time()
        for node, (generation, number) in beat.beats.items():
            known = self._beats.get(node)
            if known is not None and (generation, number) <= known:
                continue
            if node == self._env.name:
                # From before its clock was set back, or its disk lost: nobody would listen to a lower one.
                self._beats[node] = (generation + 1, 0)
                continue
            detector = self._detectors.get(node)
            if detector is None:
                continue
            if known is not None and generation != known[0]:
                detector.forget()
            self._beats[node] = (generation, number)
            detector.heard(now)
        self._judge(now)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            generation, number = self._beats[self._env.name]
            self._beats[self._env.name] = (generation, number + 1)
            # Few nodes: every peer hears of everybody each round, directly or through one that both reach.
            for peer in self._peers:
                self.tell(peer)
            self._judge(loop.time())
            await asyncio.sleep(self._interval_s * (0.8 + 0.4 * self._env.random.random()))

    def tell(self, peer: str) -> None:
        self._send(peer, Beat(dict(self._beats), self._membership.state))

    def _judge(self, now: float) -> None:
        for peer in self._peers:
            alive = self._detectors[peer].phi(now) < self._threshold
            if alive == self._alive[peer]:
                continue
            self._alive[peer] = alive
            self._env.emit("peer-alive" if alive else "peer-down", peer=peer)
            if alive:
                self._down_since.pop(peer, None)
                for listener in self._listeners:
                    listener(peer)
            else:
                self._down_since[peer] = now
