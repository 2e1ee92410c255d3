"""How long a broker may believe its own metadata: a lease on the leadership that it has.

A partition's leader that was deposed while it slept still answers from its memory until it hears of it.
For records this does no harm (appends need the others' acknowledgement), for a coordinator it does: an
offset fetched from the memory of a former coordinator is a commit forgotten. So a coordinator answers only
under a lease. Apache Kafka has none: its deposed coordinators do answer, for as long as their metadata lags.

Each heartbeat that the active controller acknowledged as that of a broker in service extends the lease to

    (time at which the heartbeat was *sent*) + broker.session.timeout.ms - margin

on the loop's monotonic clock. While it runs, everything this broker leads by its own metadata it does lead:

1. Leadership moves away from a live broker only when it is fenced or asks to leave (`elections.py`: ISR
   changes keep the leader, which must be a member; a leader is elected only where there is none). A broker
   gives up the lease before it asks to leave.
2. The controller that acknowledged fences no earlier than a whole session after it *received* the
   heartbeat. It acknowledges only once a majority has confirmed, after the receipt, that it was still the
   active one (`RaftNode.confirm_leadership`): every later controller is elected after that and begins with
   a whole session for everyone.
3. So no fencing happens between the receipt and the end of the lease. One from before the receipt this
   broker has applied already: the controller takes a fenced broker back only when its heartbeat says
   that its metadata reaches the fencing, and says "in service" of nobody else.

This needs no synchronised clocks, only two that run at the same *rate*: between sending and the session's end
the broker's may be slower than the controller's by `MARGIN` of it. (A loop that reads its clock once a turn,
as uvloop's does, can be late by the length of that turn.)
"""

from __future__ import annotations

import asyncio
from typing import Final

MARGIN: Final = 0.1
"""Part of the session that is given away to clocks of different rates."""


class Lease:
    """Written by the heartbeats, read by the coordinators."""

    def __init__(self, session_timeout_ms: int) -> None:
        self._length_s = session_timeout_ms / 1000 * (1 - MARGIN)
        self._ends = float("-inf")
        self._surrendered = False

    @property
    def valid(self) -> bool:
        return asyncio.get_running_loop().time() < self._ends

    def extend(self, sent: float) -> None:
        """A heartbeat sent at that loop time was acknowledged."""
        if not self._surrendered:
            self._ends = max(self._ends, sent + self._length_s)

    def surrender(self) -> None:
        """For good: this broker asks to be taken out of leadership."""
        self._surrendered = True
        self._ends = float("-inf")

    def end(self) -> None:
        """The controller knows this registration no longer."""
        self._ends = float("-inf")
