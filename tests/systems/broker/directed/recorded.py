"""What directed clients did, recorded as the workloads record it, and what the checkers call it."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from harness.capabilities import TopicPartition
from harness.checker import CheckContext
from harness.history import History, HistoryWriter
from harness.registry import load
from tests.systems.kafka.simulated import Simulated

Outcome = Literal["ok", "fail", "info"]


class Recorded:
    def __init__(self, running: Simulated) -> None:
        self._running = running
        loop = asyncio.get_running_loop()
        self._writer = HistoryWriter(None, lambda: round(loop.time() * 1e9))

    def begin(self, process: int, f: str, key: Any = None, value: Any = None, **extra: Any) -> None:
        self._writer.append(process, "invoke", f, key=key, value=value, extra=extra)

    def end(
        self, process: int, type: Outcome, f: str, key: Any = None, value: Any = None, **extra: Any
    ) -> None:
        self._writer.append(process, type, f, key=key, value=value, extra=extra)

    def begin_transaction(self, process: int, txn: str) -> None:
        self.begin(process, "transfer", "0", txn=txn, plan="commit")

    def end_transaction(
        self,
        process: int,
        txn: str,
        outcome: Outcome,
        outputs: list[list[Any]],
        inputs: tuple[list[Any], ...] = (),
    ) -> None:
        """`outputs` and `inputs`: [partition, offset, value]."""
        fate = {"ok": "committed", "fail": "aborted", "info": "unknown"}[outcome]
        value = {"inputs": list(inputs), "outputs": outputs}
        self.end(process, outcome, "transfer", "0", value, txn=txn, plan="commit", outcome=fate)

    async def read_back(self, topic: str, host: str = "k3", *, patience_s: float = 0.0) -> None:
        """Both partitions, by a reader of committed records, as far as it gets after that time."""
        await asyncio.sleep(patience_s)
        await self._running.on(host, self._read_back(topic, host))

    async def _read_back(self, topic: str, host: str) -> None:
        everything = await self._running.log(host).consumer(isolation="read_uncommitted")
        consumer = await self._running.log(host).consumer()
        for index in range(2):
            partition = TopicPartition(topic, index)
            self.begin(90 + index, "final-read", str(partition), **{"from": 0})
            watermark = (await everything.end_offsets([partition]))[partition]
            end = (await consumer.end_offsets([partition]))[partition]
            await consumer.assign([partition])
            found: list[list[Any]] = []
            while await consumer.position(partition) < end:
                found += [
                    [str(partition), record.offset, record.value.decode()]
                    for record in await consumer.poll(timeout_ms=300)
                ]
            told = {"from": 0, "next": end, "end": end, "reached": True, "high_watermark": watermark}
            self.end(
                90 + index, "ok", "final-read", str(partition), found, isolation="read_committed", **told
            )

    def anomalies(self, *checkers: str, **config: Any) -> set[str]:
        history = History(self._writer.ops)
        context = CheckContext(config=config)
        results = [load("checkers", checker).check(history, context) for checker in checkers]
        return {anomaly.name for result in results for anomaly in result.anomalies if not anomaly.allowed}
