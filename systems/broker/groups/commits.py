"""Offsets of a group: OffsetCommit, TxnOffsetCommit, OffsetFetch (semantics 2.4.7 and 2.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.coordinator_log import CoordinatorLog, Producer
from systems.broker.groups import codec
from systems.broker.groups.consumer_protocol import fencing
from systems.broker.groups.offsets import Committed, TopicPartition
from systems.broker.groups.shard import Groups, GroupShard
from systems.broker.groups.state import check_commit, check_transactional_commit
from systems.broker.transactions.verification import verify

OFFSET_COMMIT = 8
OFFSET_FETCH = 9
TXN_OFFSET_COMMIT = 28

_METADATA_MAX_BYTES = 4096
_ABORTABLE_SINCE = 4
_ADDS_PARTITION_SINCE = 5
_ASK_AGAIN = frozenset(
    {
        ErrorCode.network_exception,
        ErrorCode.not_coordinator,
        ErrorCode.coordinator_not_available,
        ErrorCode.concurrent_transactions,
    }
)
"""What a verification may answer for a moment. Those names would send the client to look for another group
coordinator, so it hears COORDINATOR_LOAD_IN_PROGRESS: wait and ask here again."""

Record = tuple[bytes, bytes | None]


class OffsetCommits:
    def __init__(self, broker: Broker, log: CoordinatorLog[Groups]) -> None:
        self._broker = broker
        self._log = log

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            OFFSET_COMMIT: (range(2, 10), self.on_offset_commit),
            OFFSET_FETCH: (range(1, 10), self.on_offset_fetch),
            TXN_OFFSET_COMMIT: (range(0, 6), self.on_txn_offset_commit),
        }

    async def on_offset_commit(self, context: RequestContext, request: Any) -> Any:
        try:
            await self._commit(context, request)
            code = ErrorCode.none
        except KafkaError as error:
            code = error.code
        return messages.response(context, topics=self._commit_results(request, code))

    async def on_txn_offset_commit(self, context: RequestContext, request: Any) -> Any:
        try:
            await self._commit_in_transaction(context, request)
            code = ErrorCode.none
        except KafkaError as error:
            code = _for_client(error.code, context.version)
        return messages.response(context, topics=self._commit_results(request, code))

    async def on_offset_fetch(self, context: RequestContext, request: Any) -> Any:
        if context.version >= 8:
            groups = [
                self._fetch(g.group_id, g.topics, request.require_stable, asker=g) for g in request.groups
            ]
            return messages.response(context, groups=groups)
        stable = getattr(request, "require_stable", False)
        answer = self._fetch(request.group_id, request.topics, stable)
        if context.version == 1 and answer["error_code"] is not ErrorCode.none:
            # Version 1 has no error of the whole answer.
            answer["topics"] = [
                {
                    "name": t.name,
                    "partitions": [_nothing(i, answer["error_code"]) for i in t.partition_indexes],
                }
                for t in request.topics
            ]
        return messages.response(context, **answer)

    async def _commit(self, context: RequestContext, request: Any) -> None:
        shard = self._log.shard_of(request.group_id)
        generation = request.generation_id_or_member_epoch
        if "generation-not-fenced" not in self._broker.env.bugs:
            consumer_group = shard.state.consumer_groups.get(request.group_id)
            with self._reporting(request, generation):
                if consumer_group is not None:
                    fencing.check_commit(
                        consumer_group,
                        request.member_id,
                        generation,
                        self._partitions(request),
                        context.version,
                    )
                else:
                    check_commit(
                        shard.state.groups.get(request.group_id),
                        request.member_id,
                        generation,
                        getattr(request, "group_instance_id", None),
                    )
        partitions, records = self._records(request)
        if not records:
            return
        with shard.state.offsets.writing(request.group_id, [partition for partition, _ in partitions]):
            appended = await self._log.append(shard, records)
        for position, (partition, entry) in enumerate(partitions, appended.base_offset):
            shard.state.offsets.commit(request.group_id, partition, entry._replace(position=position))
        self._broker.env.step("group.offsets.committed")

    async def _commit_in_transaction(self, context: RequestContext, request: Any) -> None:
        """2.4.7: validated against the group, then against the transaction, then pending until its marker."""
        shard = self._log.shard_of(request.group_id)
        self._check_group(shard, request)
        await self._check_transaction(context, shard, request)
        # The group may have moved on while the other coordinator was asked.
        self._check_group(shard, request)
        partitions, records = self._records(request)
        if not records:
            return
        with shard.state.offsets.writing(request.group_id, [partition for partition, _ in partitions]):
            appended = await self._log.append(
                shard, records, producer=Producer(request.producer_id, request.producer_epoch)
            )
        for position, (partition, entry) in enumerate(partitions, appended.base_offset):
            shard.state.offsets.hold(
                request.producer_id, request.group_id, partition, entry._replace(position=position)
            )
        self._broker.env.step("group.transactional_offsets.pending")

    def _check_group(self, shard: GroupShard, request: Any) -> None:
        if "txn-offset-commit-not-group-fenced" in self._broker.env.bugs:
            return
        generation = getattr(request, "generation_id", -1)
        member_id = getattr(request, "member_id", "")
        consumer_group = shard.state.consumer_groups.get(request.group_id)
        with self._reporting(request, generation):
            if consumer_group is not None:
                fencing.check_transactional_commit(
                    consumer_group, member_id, generation, self._partitions(request)
                )
            else:
                check_transactional_commit(
                    shard.state.groups.get(request.group_id),
                    member_id,
                    generation,
                    getattr(request, "group_instance_id", None),
                )

    async def _check_transaction(self, context: RequestContext, shard: GroupShard, request: Any) -> None:
        """2.4.2 for the offsets partition: a late request of an ended transaction must not open another
        one that nobody will end."""
        offsets = shard.state.offsets
        if offsets.open_transaction(request.producer_id):
            return
        seen = offsets.last_marker(request.producer_id)
        try:
            await verify(
                self._broker,
                transactional_id=request.transactional_id,
                producer_id=request.producer_id,
                producer_epoch=request.producer_epoch,
                partitions=[(self._log.topic, shard.index)],
                add=context.version >= _ADDS_PARTITION_SINCE,
            )
        except KafkaError as error:
            if error.code in _ASK_AGAIN:
                raise KafkaError(ErrorCode.coordinator_load_in_progress, str(error)) from error
            raise
        if offsets.last_marker(request.producer_id) != seen:
            raise KafkaError(ErrorCode.invalid_txn_state, "the transaction ended in the meantime")

    def _fetch(
        self, group_id: str, topics: Sequence[Any] | None, require_stable: bool, *, asker: Any = None
    ) -> dict[str, Any]:
        """`asker`: since version 9 a member of a consumer group may say who it is, and is told nothing while it is behind."""
        early = "coordinator-serves-while-loading" in self._broker.env.bugs
        try:
            state = self._log.shard_of(group_id, while_loading=early).state
            if group_id in state.consumer_groups:
                fencing.check_fetch(
                    state.consumer_groups[group_id],
                    getattr(asker, "member_id", None),
                    getattr(asker, "member_epoch", -1),
                )
        except KafkaError as error:
            if "spurious-offset-zero-or-minus-one" in self._broker.env.bugs:
                return _told_nothing(group_id, topics)
            return {"group_id": group_id, "topics": [], "error_code": error.code}
        offsets = state.offsets
        committed = offsets.committed.get(group_id, {})
        if topics is None:
            wanted = sorted(committed)
        else:
            wanted = [(topic.name, index) for topic in topics for index in topic.partition_indexes]
        by_topic: dict[str, list[dict[str, Any]]] = {}
        for partition in wanted:
            if require_stable and offsets.unstable(group_id, partition):
                answer = _nothing(partition[1], ErrorCode.unstable_offset_commit)
            elif partition not in committed:
                answer = _nothing(partition[1], ErrorCode.none)
            else:
                answer = _found(partition[1], committed[partition])
            by_topic.setdefault(partition[0], []).append(answer)
        return {
            "group_id": group_id,
            "topics": [{"name": name, "partitions": parts} for name, parts in by_topic.items()],
            "error_code": ErrorCode.none,
        }

    def _partitions(self, request: Any) -> list[tuple[str, int]]:
        """Of topics that exist, by their ids."""
        topics = self._broker.image.topics
        return [
            (topics[topic.name].id.hex(), partition.partition_index)
            for topic in request.topics
            if topic.name in topics
            for partition in topic.partitions
        ]

    def _records(self, request: Any) -> tuple[list[tuple[TopicPartition, Committed]], list[Record]]:
        """What is committed, and the log records that say so, in the same order. Partitions that are refused
        are left out (and told apart in the answer)."""
        entries: list[tuple[TopicPartition, Committed]] = []
        records: list[Record] = []
        now_ms = self._broker.env.wall_clock.time_ns() // 1_000_000
        for topic in request.topics:
            for partition in topic.partitions:
                if self._refusal(topic.name, partition) is not ErrorCode.none:
                    continue
                epoch = getattr(partition, "committed_leader_epoch", -1)
                metadata = partition.committed_metadata or ""
                entry = Committed(partition.committed_offset, epoch, metadata, -1, now_ms)
                key = codec.OffsetKey(request.group_id, topic.name, partition.partition_index)
                value = codec.OffsetValue(partition.committed_offset, epoch, metadata, now_ms)
                entries.append(((topic.name, partition.partition_index), entry))
                records.append((codec.encode(key), codec.encode(value)))
        return entries, records

    def _commit_results(self, request: Any, code: ErrorCode) -> list[dict[str, Any]]:
        def of(topic: str, partition: Any) -> ErrorCode:
            return code if code is not ErrorCode.none else self._refusal(topic, partition)

        return [
            {
                "name": topic.name,
                "partitions": [
                    {
                        "partition_index": partition.partition_index,
                        "error_code": of(topic.name, partition),
                    }
                    for partition in topic.partitions
                ],
            }
            for topic in request.topics
        ]

    def _refusal(self, topic: str, partition: Any) -> ErrorCode:
        """Why nothing can be committed for that partition, `none` where it can."""
        if self._broker.image.partition(topic, partition.partition_index) is None:
            return ErrorCode.unknown_topic_or_partition
        if len(partition.committed_metadata or "") > _METADATA_MAX_BYTES:
            return ErrorCode.offset_metadata_too_large
        return ErrorCode.none

    def _reporting(self, request: Any, generation: int) -> _Fencing:
        return _Fencing(self._broker, request.group_id, getattr(request, "member_id", ""), generation)


class _Fencing:
    """Reports a commit that was refused for its generation or member, and lets the error pass."""

    def __init__(self, broker: Broker, group: str, member: str, generation: int) -> None:
        self._broker = broker
        self._fields = {"group": group, "member": member, "generation": generation}

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, KafkaError):
            self._broker.env.emit("commit-fenced", **self._fields, error=error.code.name)


def _for_client(code: ErrorCode, version: int) -> ErrorCode:
    """A verification's answer, as a TxnOffsetCommit of that version knows it."""
    if code is ErrorCode.producer_fenced:
        return ErrorCode.invalid_producer_epoch
    if code is ErrorCode.transaction_abortable and version < _ABORTABLE_SINCE:
        return ErrorCode.invalid_txn_state
    return code


def _found(index: int, committed: Committed) -> dict[str, Any]:
    return {
        "partition_index": index,
        "committed_offset": committed.offset,
        "committed_leader_epoch": committed.leader_epoch,
        "metadata": committed.metadata,
        "error_code": ErrorCode.none,
    }


def _told_nothing(group_id: str, topics: Sequence[Any] | None) -> dict[str, Any]:
    """The mistake of saying that nothing is committed where the right word is: not here, or not now."""
    return {
        "group_id": group_id,
        "topics": [
            {"name": t.name, "partitions": [_nothing(i, ErrorCode.none) for i in t.partition_indexes]}
            for t in topics or ()
        ],
        "error_code": ErrorCode.none,
    }


def _nothing(index: int, code: ErrorCode) -> dict[str, Any]:
    return {
        "partition_index": index,
        "committed_offset": -1,
        "committed_leader_epoch": -1,
        "metadata": "",
        "error_code": code,
    }
