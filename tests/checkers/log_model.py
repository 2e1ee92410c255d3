"""A small correct system: logs with a high watermark, truncation of what was not replicated, transactions,
pipelines and consumers, executed at random. Whatever it does is legal, so that a checker which names
an anomaly in its histories is wrong.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from harness.history import History, HistoryWriter

INPUTS = ("input/0", "input/1")
OUTPUTS = ("output/0", "output/1")


@dataclass
class Entry:
    """One log entry. `owner` is the send or transaction it belongs to; a marker has no value."""

    value: str | None
    owner: Any


@dataclass
class Log:
    entries: list[Entry] = field(default_factory=list)
    high_watermark: int = 0


@dataclass
class Send:
    """A send under way, or one of unknown outcome that may still take effect."""

    partition: str
    values: list[str]
    offsets: list[int] | None = None
    refused: bool = False
    transactional: bool = False


@dataclass
class Transaction:
    name: str
    state: str = "open"
    first: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)


@dataclass
class Pipeline:
    """One pipeline: its process, what it is doing, and the predecessor that must be settled first."""

    partitions: tuple[str, ...]
    process: int
    positions: dict[str, int] | None = None
    number: int = 0
    transaction: Transaction | None = None
    value: dict[str, Any] | None = None
    resumed: list[list[Any]] | None = None
    predecessor: Transaction | None = None


class Model:
    """`transactions` False makes a `produce` run over one topic, True an `eos` run."""

    def __init__(self, rng: random.Random, *, transactions: bool) -> None:
        self.rng = rng
        self.now = 0
        self.writer = HistoryWriter(None, self._clock)
        self.transactions = transactions
        self.sent_to = INPUTS if transactions else ("orders/0", "orders/1")
        self.followed = OUTPUTS if transactions else self.sent_to
        self.logs = {name: Log() for name in dict.fromkeys(self.sent_to + self.followed)}
        self.committed = dict.fromkeys(INPUTS, 0)
        self.producers: dict[int, Send | None] = {0: None, 1: None}
        self.consumers: dict[int, dict[str, int]] = {2: {}}
        self.polling: dict[int, list[list[Any]] | None] = {}
        self.loose: list[Send] = []
        self.unsettled: list[Transaction] = []
        self.sequence: dict[int, int] = {}
        self.pipelines = [Pipeline((INPUTS[0],), 100), Pipeline((INPUTS[1],), 101)] if transactions else []
        self.next_process = 1_000

    def _clock(self) -> int:
        self.now += self.rng.randrange(1, 50) * 1_000_000
        return self.now

    def run(self, steps: int) -> History:
        for _ in range(steps):
            moves = (
                [self.produce] * 8
                + [self.replicate] * 3
                + [self.consume, self.consume, self.truncate, self.late, self.settle]
            )
            if self.transactions:
                moves += [self.pipe, self.pipe, self.pipe]
            self.rng.choice(moves)()
        self.finish()
        return self.writer.history()

    # logs

    def append(self, name: str, entry: Entry) -> int:
        log = self.logs[name]
        log.entries.append(entry)
        return len(log.entries) - 1

    def replicate(self) -> None:
        log = self.logs[self.rng.choice(sorted(self.logs))]
        log.high_watermark = len(log.entries)

    def truncate(self) -> None:
        """A new leader without what was not replicated: a send whose records are cut may be retried."""
        name = self.rng.choice(sorted(self.logs))
        log = self.logs[name]
        if any(isinstance(e.owner, Transaction) for e in log.entries[log.high_watermark :]):
            return
        for entry in log.entries[log.high_watermark :]:
            if isinstance(entry.owner, Send):
                entry.owner.offsets = None
        del log.entries[log.high_watermark :]

    def stable(self, name: str) -> int:
        log = self.logs[name]
        held = [
            t.first[name]
            for t in [*self.unsettled, *(p.transaction for p in self.pipelines if p.transaction)]
            if t.state == "open" and name in t.first
        ]
        return min([log.high_watermark, *held])

    def visible(self, name: str, start: int, limit: int) -> list[list[Any]]:
        records: list[list[Any]] = []
        for offset in range(start, self.stable(name)):
            entry = self.logs[name].entries[offset]
            aborted = isinstance(entry.owner, Transaction) and entry.owner.state != "committed"
            if entry.value is not None and not aborted and len(records) < limit:
                records.append([name, offset, entry.value])
        return records

    # producers

    def produce(self) -> None:
        process = self.rng.choice(sorted(self.producers))
        send = self.producers[process]
        if send is None:
            self._invoke_send(process)
        elif send.offsets is None and not send.refused:
            if self.rng.random() < 0.1:
                send.refused = True
            else:
                self._apply(send)
        else:
            self._complete_send(process, send)

    def _invoke_send(self, process: int) -> None:
        name = self.rng.choice(self.sent_to)
        values = []
        for _ in range(self.rng.choice((1, 1, 2))):
            number = self.sequence.get(process, 0)
            self.sequence[process] = number + 1
            values.append(f"{process}:{number}")
        self.producers[process] = Send(name, values)
        self.writer.append(process, "invoke", "send", key=name, value=_one_or_all(values))

    def _apply(self, send: Send) -> None:
        send.offsets = [self.append(send.partition, Entry(value, send)) for value in send.values]

    def _complete_send(self, process: int, send: Send) -> None:
        value = _one_or_all(send.values)
        safe = send.offsets is not None and send.offsets[-1] < self.logs[send.partition].high_watermark
        if safe and self.rng.random() < 0.8:
            assert send.offsets is not None
            offsets: list[int | None] = [o if self.rng.random() < 0.9 else None for o in send.offsets]
            extra = {"offsets": offsets} if isinstance(value, list) else {"offset": offsets[0]}
            self.writer.append(process, "ok", "send", key=send.partition, value=value, extra=extra)
            self.producers[process] = None
        elif send.refused:
            self.writer.append(process, "fail", "send", key=send.partition, value=value, error="refused")
            self.producers[process] = None
        elif self.rng.random() < 0.07:
            self.writer.append(process, "info", "send", key=send.partition, value=value, error="timed out")
            self.loose.append(send)
            del self.producers[process]
            self.producers[self._fresh()] = None

    def late(self) -> None:
        """A send of unknown outcome takes effect after all."""
        waiting = [send for send in self.loose if send.offsets is None]
        if waiting:
            self._apply(self.rng.choice(waiting))

    def _fresh(self) -> int:
        self.next_process += 1
        return self.next_process

    # consumers

    def consume(self) -> None:
        process = sorted(self.consumers)[0]
        if process not in self.polling:
            kind = "end-offset" if self.rng.random() < 0.2 else "poll"
            self.polling[process] = None
            self.writer.append(process, "invoke", kind)
            if kind == "end-offset":
                del self.polling[process]
                ends = [[name, self.stable(name)] for name in self.followed]
                self.writer.append(process, "ok", kind, value=ends)
            return
        del self.polling[process]
        if self.rng.random() < 0.1:
            self.writer.append(process, "fail", "poll", error="timed out")
            del self.consumers[process]
            self.consumers[self._fresh()] = {}
            return
        positions, extra = self.consumers[process], {}
        if not positions:
            positions.update(
                {name: 0 if self.rng.random() < 0.5 else self.stable(name) // 2 for name in self.followed}
            )
            extra = {"assigned": [[n, o] for n, o in positions.items()]}
        records: list[list[Any]] = []
        for name in self.followed:
            got = self.visible(name, positions[name], self.rng.randrange(4))
            if got:
                positions[name] = got[-1][1] + 1
            records += got
        self.writer.append(process, "ok", "poll", value=records, extra=extra)

    # pipelines

    def pipe(self) -> None:
        pipeline = self.rng.choice(self.pipelines)
        if pipeline.transaction is not None:
            self._end_transfer(pipeline, pipeline.transaction)
        else:
            self._begin_transfer(pipeline)

    def _begin_transfer(self, pipeline: Pipeline, plan: str = "commit") -> bool:
        """Starting a new process first settles the transaction of its predecessor: fencing."""
        if pipeline.predecessor is not None:
            self._settle(pipeline.predecessor)
            pipeline.predecessor = None
        txn = f"{pipeline.process}.{pipeline.number}"
        pipeline.number += 1
        self.writer.append(pipeline.process, "invoke", "transfer", key="0", extra={"txn": txn, "plan": plan})
        pipeline.resumed = None
        if pipeline.positions is None:
            pipeline.positions = {name: self.committed[name] for name in pipeline.partitions}
            pipeline.resumed = [[n, o] for n, o in pipeline.positions.items()]
        inputs = [
            record
            for name in pipeline.partitions
            for record in self.visible(name, pipeline.positions[name], self.rng.randrange(1, 4))
        ]
        if not inputs:
            value: dict[str, Any] = {"inputs": [], "outputs": []}
            extra = {"txn": txn, "outcome": "empty", **self._resumed(pipeline)}
            self.writer.append(pipeline.process, "ok", "transfer", key="0", value=value, extra=extra)
            return False
        transaction = Transaction(txn)
        outputs = []
        for number, (name, offset, record) in enumerate(inputs, start=1):
            pipeline.positions[name] = transaction.offsets[name] = offset + 1
            target = OUTPUTS[(int(name[-1]) + offset) % len(OUTPUTS)]
            text = f"{name[-1]}@{offset}={record} by {txn} {number}/{len(inputs)}"
            place = self.append(target, Entry(text, transaction))
            transaction.first.setdefault(target, place)
            outputs.append([target, place, text])
        pipeline.transaction = transaction
        pipeline.value = {"inputs": inputs, "outputs": outputs}
        return True

    def _resumed(self, pipeline: Pipeline) -> dict[str, Any]:
        return {} if pipeline.resumed is None else {"resumed": pipeline.resumed}

    def _end_transfer(self, pipeline: Pipeline, transaction: Transaction, *, surely: bool = False) -> None:
        draw = 0.0 if surely else self.rng.random()
        extra: dict[str, Any] = {"txn": transaction.name, **self._resumed(pipeline)}
        value: Any = pipeline.value
        if draw < 0.6:
            self._commit(transaction)
            extra["outcome"] = "committed"
            self.writer.append(pipeline.process, "ok", "transfer", key="0", value=value, extra=extra)
        elif draw < 0.75:
            self._abort(transaction)
            pipeline.positions = {name: self.committed[name] for name in pipeline.partitions}
            extra |= {"outcome": "aborted", "resumed": [[n, o] for n, o in pipeline.positions.items()]}
            self.writer.append(
                pipeline.process, "fail", "transfer", key="0", value=value, error="on purpose", extra=extra
            )
        else:
            told = self.rng.random() < 0.5
            self.writer.append(
                pipeline.process,
                "info",
                "transfer",
                key="0",
                value=value if told else None,
                error="crashed",
                extra={"txn": transaction.name},
            )
            self.unsettled.append(transaction)
            pipeline.predecessor = transaction
            pipeline.process, pipeline.number, pipeline.positions = self._fresh(), 0, None
        pipeline.transaction = None

    def settle(self) -> None:
        if self.unsettled:
            self._settle(self.rng.choice(self.unsettled))

    def _settle(self, transaction: Transaction) -> None:
        """Of unknown outcome: the coordinator had the commit, or it had not."""
        if transaction.state == "open":
            if self.rng.random() < 0.5:
                self._commit(transaction)
            else:
                self._abort(transaction)

    def _commit(self, transaction: Transaction) -> None:
        self._mark(transaction)
        transaction.state = "committed"
        self.committed.update(transaction.offsets)

    def _abort(self, transaction: Transaction) -> None:
        self._mark(transaction)
        transaction.state = "aborted"

    def _mark(self, transaction: Transaction) -> None:
        """Markers stand where all before them is replicated."""
        for name in sorted(transaction.first):
            self.append(name, Entry(None, transaction))
            self.logs[name].high_watermark = len(self.logs[name].entries)

    # the end

    def finish(self) -> None:
        for process, send in list(self.producers.items()):
            if send is not None:
                self.writer.append(
                    process, "info", "send", key=send.partition, value=_one_or_all(send.values)
                )
                self.loose.append(send)
        for log in self.logs.values():
            log.high_watermark = len(log.entries)
        for pipeline in self.pipelines:
            if pipeline.transaction is not None:
                self._end_transfer(pipeline, pipeline.transaction)
        for pipeline in self.pipelines:
            while self._begin_transfer(pipeline, "drain"):
                assert pipeline.transaction is not None
                self._end_transfer(pipeline, pipeline.transaction, surely=True)
        for transaction in self.unsettled:
            self._settle(transaction)
        for name in sorted(self.logs):
            self._final_read(name)
        if self.transactions:
            self.writer.append(9_999, "invoke", "committed")
            value = [[name, self.committed[name] or None] for name in INPUTS]
            self.writer.append(9_999, "ok", "committed", value=value)

    def _final_read(self, name: str) -> None:
        start, process, end = 0, self._fresh(), self.stable(name)
        while True:
            self.writer.append(process, "invoke", "final-read", key=name, extra={"from": start})
            records = self.visible(name, start, self.rng.randrange(1, 12))
            more = len(self.visible(name, start, len(records) + 1)) > len(records)
            position = records[-1][1] + 1 if more else end
            extra = {"from": start, "next": position, "end": end, "reached": not more}
            extra["high_watermark"] = self.logs[name].high_watermark
            self.writer.append(process, "ok", "final-read", key=name, value=records, extra=extra)
            start = position
            if not more:
                return


def _one_or_all(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else values


def produce_history(rng: random.Random, steps: int = 60) -> History:
    return Model(rng, transactions=False).run(steps)


def eos_history(rng: random.Random, steps: int = 100) -> History:
    return Model(rng, transactions=True).run(steps)
