"""A deposed leader that does not know it yet, as a consumer meets it.

Its log ends where it was deposed. A consumer whose position lies behind that is told OFFSET_OUT_OF_RANGE,
and aiokafka, which knows no leader epochs (KIP-320), resets the position: it starts over, and an exactly-once
application repeats everything. Here the answer counts as "ask somebody else", as with Java's client, which
would see from the epoch that the leader is an old one; only what everybody says for long is believed.

A position below the beginning of the answering leader's log is out of range for certain, and at once: what retention
or DeleteRecords removed there was removed everywhere.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import errors as kafka
from aiokafka.protocol.offset import OffsetRequest

FETCH = 1
PATIENCE_S = 30.0
"""Longer than any leader stays deposed without hearing of it, unless it is cut off for good."""

_OUT_OF_RANGE = kafka.OffsetOutOfRangeError.errno
_EARLIEST = -2
_CONSUMER = -1
_ASK_AGAIN = kafka.NotLeaderForPartitionError.errno

Place = tuple[str, int]


class PatientFetches:
    """Stands for a client's `send`."""

    def __init__(self, client: Any, retry_backoff_s: float) -> None:
        self._send = client.send
        self._backoff_s = retry_backoff_s
        self._since: dict[Place, float] = {}

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        response = await self._send(node_id, request, **options)
        if response is None or response.API_KEY != FETCH:
            return response
        now = asyncio.get_running_loop().time()
        doubted = False
        asked = {(topic, part[0]): part[1] for topic, parts in request.topics for part in parts}
        for topic, partitions in response.topics:
            for number, answer in enumerate(partitions):
                place = (topic, answer[0])
                if answer[1] != _OUT_OF_RANGE or await self._is_removed(node_id, place, asked.get(place, 0)):
                    self._since.pop(place, None)
                elif now - self._since.setdefault(place, now) < PATIENCE_S:
                    partitions[number] = (answer[0], _ASK_AGAIN, *answer[2:])
                    doubted = True
        if doubted:
            await asyncio.sleep(self._backoff_s)
        return response

    async def _is_removed(self, node_id: int, place: Place, offset: int) -> bool:
        """Whether the log begins above that offset."""
        topic, partition = place
        try:
            response = await self._send(
                node_id, OffsetRequest(_CONSUMER, 0, [(topic, [(partition, _EARLIEST)])])
            )
        except kafka.KafkaError:
            return False
        return any(
            answer[1] == 0 and answer[-1] > offset for _, answers in response.topics for answer in answers
        )
