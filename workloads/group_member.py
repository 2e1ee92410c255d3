"""`consume`: one turn of a member of a group: poll, process, commit, in the order that the policy says.

    {"type":"ok","process":4,"f":"consume","plan":"work","member":"client-4-1f…","generation":3,
     "assigned":["events/0",…],"resumed":[["events/0",42,42],…],"value":[["events/0",42,"3:17"],…],
     "commits":[{"offsets":[["events/0",43]],"generation":3,"outcome":"ok"}],"rebalanced":true}

`value` are the records that the poll returned; what was done with them stands in the group's effects
(`workloads.group_effects`). `resumed` tells, for each partition that was assigned since the last turn: the committed offset
that was fetched (null for none), and where the member began. A commit's `outcome` is `ok`, `refused` (it certainly had no
effect) or `unknown`. `moves` tells when the member was given partitions and when they were taken away, in milliseconds:
`[[812.4, "+", ["events/0"]], …]`. `plan`: `work`; `crash` (the process dies at the step `at`); `stall` (processing hangs
for `stall_ms`, and the member goes on as if nothing had happened); `leave` (it says goodbye after the turn); `drain`
(the end of the run: `remaining` counts what is left in `assigned`, `position` tells how far it came). A static member's
turn has its name as `instance`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from harness.capabilities import DefiniteFailure, GroupMember, Groups, Record, TopicPartition
from harness.workload import Completion, Invocation, fail, info, ok
from workloads.group_effects import Effects, Transactions
from workloads.group_policies import AUTO_COMMIT, AUTO_COMMIT_ASYNC, COMMIT_AFTER, COMMIT_BEFORE, EOS
from workloads.reading import PROGRAMMING_ERRORS, describe, shown

STEPS = ("polled", "processing", "processed", "committed")
"""Where a plan can crash or stall."""
COMMIT_S = 4.0
RESUME_S = 4.0
BESIDE = 6
"""How much longer processing a record takes where it goes on beside polling."""


Membership = tuple[int, str]
"""Generation and member id."""


class Crash(Exception):
    """The plan says that the process dies here."""


class Member:
    """A member's process. Made when it is first asked to consume, and gone with its process or when it leaves."""

    def __init__(
        self,
        log: Groups,
        *,
        group: str,
        topic: str,
        policy: str,
        batch: int,
        interval_ms: float,
        record_ms: float,
        instance: str | None,
        effects: Effects,
        transactions: Transactions | None,
        now_ms: Callable[[], float],
    ) -> None:
        self._now_ms = now_ms
        self._moves: list[list[Any]] = []
        self._log, self._group, self._topic = log, group, topic
        self._policy, self._batch, self._interval_s = policy, batch, interval_ms / 1_000
        self._instance, self._effects, self._transactions = instance, effects, transactions
        self._consumer: GroupMember | None = None
        self._assigned: set[TopicPartition] = set()
        self._uncommitted: dict[TopicPartition, int] = {}
        self._former: list[tuple[Membership, dict[TopicPartition, int]]] = []
        """What was read of partitions that have been taken away since: to be committed as who read it."""
        self._read_as: Membership = (-1, "")
        self._taken: set[TopicPartition] = set()
        """Partitions that were taken away since the last poll."""
        self._rebalances = 0
        self._commits_at = 0.0
        self._worker: asyncio.Task[None] | None = None
        self._record_s = record_ms / 1_000
        self._queue: asyncio.Queue[tuple[Record, int]] = asyncio.Queue()

    async def consume(self, op: Invocation) -> Completion:
        turn: dict[str, Any] = {"commits": []}
        records: list[Record] = []
        try:
            return await self._turn(op, turn, records)
        except PROGRAMMING_ERRORS:
            raise
        except Crash as crash:
            turn |= self._moved()
            return info(f"crashed: {crash}", value=[shown(r) for r in records], **turn)
        except Exception as error:
            turn |= self._moved()
            if not records:
                return fail(describe(error), retire=True, **turn)
            return info(describe(error), value=[shown(r) for r in records], **turn)

    async def _turn(self, op: Invocation, turn: dict[str, Any], records: list[Record]) -> Completion:
        consumer = await self._opened()
        if op.extra["plan"] == "drain":
            self._record_s = 0.0
        if self._policy in (AUTO_COMMIT, AUTO_COMMIT_ASYNC):
            await self._commit_from_time_to_time(turn, now=op.extra["plan"] in ("leave", "drain"))
        elif self._policy == COMMIT_AFTER:
            await self._commit(turn)
        rebalances = self._rebalances
        if self._assigned:
            await self._resume(consumer, turn)
        polled = await consumer.poll(timeout_ms=300, max_records=self._batch)
        turn["rebalanced"] = self._rebalances != rebalances
        self._taken.clear()
        generation, member = self._read_as = consumer.membership
        if self._instance is not None:
            turn["instance"] = self._instance
        turn |= {
            "generation": generation,
            "member": member,
            "assigned": [str(p) for p in consumer.assignment()],
        }
        if self._assigned:
            # Handed out while the poll went on: these records are those of a position that nobody has told.
            fresh = set(self._assigned)
            self._go_back([r for r in polled if TopicPartition(r.topic, r.partition) in fresh])
            polled = [r for r in polled if TopicPartition(r.topic, r.partition) not in fresh]
        records += polled
        if records:
            await self._at(op, "polled")
            await self._policies[self._policy](self, op, turn, records)
        if op.extra["plan"] == "drain":
            await self._rest(consumer, turn)
        value = [shown(record) for record in records]
        turn |= self._moved()
        try:
            await self._at(op, "committed")
        except Crash as crash:
            return ok(value, retire=True, crashed=str(crash), **turn)
        if op.extra["plan"] == "leave":
            await self.close()
            return ok(value, retire=True, left=True, **turn)
        return ok(value, **turn)

    # Policies: at most once, at least once, by the clock, exactly once.

    async def _before(self, op: Invocation, turn: dict[str, Any], records: Sequence[Record]) -> None:
        self._note(records)
        if await self._commit(turn) == "ok":
            await self._process(op, records)
            return
        # Nothing is processed that might be somebody else's; what it still has it reads again.
        self._uncommitted.clear()
        self._former.clear()
        self._go_back(records)

    async def _after(self, op: Invocation, turn: dict[str, Any], records: Sequence[Record]) -> None:
        await self._process(op, records)
        self._note(records)
        await self._commit(turn)

    async def _by_the_clock(self, op: Invocation, turn: dict[str, Any], records: Sequence[Record]) -> None:
        await self._process(op, records)
        self._note(records)

    async def _beside(self, op: Invocation, turn: dict[str, Any], records: Sequence[Record]) -> None:
        for record in records:
            self._queue.put_nowait((record, self._read_as[0]))
        self._note(records)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        await self._at(op, "processing")

    async def _in_a_transaction(
        self, op: Invocation, turn: dict[str, Any], records: Sequence[Record]
    ) -> None:
        assert self._transactions is not None
        assert self._consumer is not None
        offsets: dict[TopicPartition, int] = {}
        for record in records:
            offsets[TopicPartition(record.topic, record.partition)] = record.offset + 1
        await self._at(op, "processing")
        committed = await self._transactions.process(
            records, offsets, self._consumer, before_commit=lambda: self._at(op, "processed")
        )
        turn["commits"].append(self._told(offsets, self._read_as, "ok" if committed else "refused"))
        if not committed:
            self._go_back(records)

    _policies = {  # noqa: RUF012 - a table of this class's own methods
        COMMIT_BEFORE: _before,
        COMMIT_AFTER: _after,
        AUTO_COMMIT: _by_the_clock,
        AUTO_COMMIT_ASYNC: _beside,
        EOS: _in_a_transaction,
    }

    async def _process(self, op: Invocation, records: Sequence[Record]) -> None:
        half = len(records) // 2
        for number, record in enumerate(records):
            if number == half:
                await self._at(op, "processing")
            if self._record_s:
                await asyncio.sleep(self._record_s)
            self._effects.add(record, self._read_as[0])
        await self._at(op, "processed")

    async def _work(self) -> None:
        while True:
            record, generation = await self._queue.get()
            await asyncio.sleep(self._record_s * BESIDE)
            self._effects.add(record, generation)
            self._queue.task_done()

    # Offsets.

    def _note(self, records: Sequence[Record]) -> None:
        """What was read, to be committed."""
        former: dict[TopicPartition, int] = {}
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            (former if partition in self._taken else self._uncommitted)[partition] = record.offset + 1
        if former:
            self._former.append((self._read_as, former))

    async def _commit_from_time_to_time(self, turn: dict[str, Any], *, now: bool) -> None:
        time_s = asyncio.get_running_loop().time()
        if now or time_s >= self._commits_at:
            await self._commit(turn)
            self._commits_at = time_s + self._interval_s

    async def _commit(self, turn: dict[str, Any]) -> str:
        """The outcome. What was not committed stays to be committed, as long as its partition does; of what has been
        taken away the group is told once, and must refuse it as soon as somebody else may have it."""
        former, self._former = self._former, []
        outcomes = [await self._commit_as(membership, offsets, turn) for membership, offsets in former]
        offsets = dict(sorted(self._uncommitted.items()))
        if offsets and self._consumer is not None:
            outcomes.append(await self._commit_as(self._consumer.membership, offsets, turn))
            if outcomes[-1] == "ok":
                for partition, offset in offsets.items():
                    if self._uncommitted.get(partition) == offset:
                        del self._uncommitted[partition]
        return next((outcome for outcome in outcomes if outcome != "ok"), "ok")

    async def _commit_as(
        self, membership: Membership, offsets: dict[TopicPartition, int], turn: dict[str, Any]
    ) -> str:
        assert self._consumer is not None
        told = self._told(offsets, membership, "unknown")
        turn["commits"].append(told)
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._consumer.commit_as(membership, offsets)
        except PROGRAMMING_ERRORS:
            raise
        except DefiniteFailure as error:
            told |= {"outcome": "refused", "error": describe(error)}
            return "refused"
        except Exception as error:
            told["error"] = describe(error)
            return "unknown"
        told["outcome"] = "ok"
        return "ok"

    @staticmethod
    def _told(offsets: dict[TopicPartition, int], membership: Membership, outcome: str) -> dict[str, Any]:
        return {
            "offsets": [[str(p), o] for p, o in offsets.items()],
            "generation": membership[0],
            "outcome": outcome,
        }

    async def _resume(self, consumer: GroupMember, turn: dict[str, Any]) -> None:
        """Begins where the group is, in every partition that it was given since the last turn."""
        resumed = turn.setdefault("resumed", [])
        async with asyncio.timeout(RESUME_S):
            for partition in sorted(self._assigned):
                if partition not in consumer.assignment():
                    self._assigned.discard(partition)
                    continue
                committed = await consumer.committed(partition)
                if partition not in consumer.assignment():
                    continue
                if committed is not None:
                    consumer.seek(partition, committed)
                position = await consumer.position(partition)
                self._assigned.discard(partition)
                resumed.append([str(partition), committed, position])

    def _go_back(self, records: Sequence[Record]) -> None:
        """To where these began, or, by the next turn, to what the group has committed."""
        assert self._consumer is not None
        for record in reversed(records):
            partition = TopicPartition(record.topic, record.partition)
            if partition in self._consumer.assignment():
                self._consumer.seek(partition, record.offset)
                self._assigned.add(partition)

    # Coming and going.

    async def _opened(self) -> GroupMember:
        if self._consumer is None:
            consumer = await self._log.member(group=self._group, instance=self._instance)
            self._consumer = consumer
            await consumer.subscribe([self._topic], on_assigned=self._gained, on_revoked=self._lost)
        return self._consumer

    def _moved(self) -> dict[str, Any]:
        moves, self._moves = self._moves, []
        return {"moves": moves} if moves else {}

    def _note_move(self, sign: str, partitions: Sequence[TopicPartition]) -> None:
        if partitions:
            self._moves.append([round(self._now_ms(), 1), sign, [str(p) for p in partitions]])

    def _gained(self, partitions: Sequence[TopicPartition]) -> None:
        self._rebalances += 1
        self._note_move("+", partitions)
        self._assigned |= set(partitions)

    def _lost(self, partitions: Sequence[TopicPartition]) -> None:
        self._rebalances += 1
        self._note_move("-", partitions)
        self._taken |= set(partitions)
        former = {p: o for p in partitions if (o := self._uncommitted.pop(p, None)) is not None}
        if former:
            self._former.append((self._read_as, former))
        self._assigned -= set(partitions)

    async def _rest(self, consumer: GroupMember, turn: dict[str, Any]) -> None:
        """What is left of its partitions. One that was given to it just now has not begun."""
        await self._queue.join()
        await self._commit(turn)
        assigned = [p for p in consumer.assignment() if p not in self._assigned]
        position = {p: await consumer.position(p) for p in assigned}
        ends = await consumer.end_offsets(assigned) if assigned else {}
        turn["remaining"] = sum(max(0, ends[p] - position[p]) for p in assigned)
        if not self._assigned and turn["remaining"] == 0:
            turn["position"] = [[str(p), position[p]] for p in assigned]

    async def _at(self, op: Invocation, step: str) -> None:
        if op.extra.get("at") != step:
            return
        if op.extra["plan"] == "crash":
            raise Crash(f"at step {step}")
        await asyncio.sleep(float(op.extra["stall_ms"]) / 1_000)

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if self._worker is not None:
            self._worker.cancel()
        if consumer is not None:
            await consumer.close()
        if self._transactions is not None:
            await self._transactions.close()
