"""Fetch as we write it against kio's own writer."""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_payload_module, load_request_schema
from kio.schema.errors import ErrorCode
from kio.serial import entity_writer
from kio.static.constants import EntityType

from harness.folder_disk import FolderDisk
from systems.broker import messages
from systems.broker.fetching import Fetched
from systems.broker.follower import FetchPosition
from systems.broker.log.leader_epochs import EpochEnd
from systems.broker.log.stored import StoredRecords
from systems.broker.producer_state import AbortedTransaction
from systems.broker.requests import fetch_encoding
from systems.broker.requests.fetch_encoding import Answer
from systems.broker.wire import Streamed, decode_request, decode_response, encode_request, encode_response

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TOPIC_ID = st.binary(min_size=16, max_size=16).filter(any)

ABORTED = st.builds(AbortedTransaction, producer_id=INT64, first_offset=INT64, last_offset=INT64)
FETCHED = st.builds(
    Fetched,
    records=st.one_of(st.binary(max_size=4), st.binary(min_size=125, max_size=130)),
    high_watermark=INT64,
    last_stable_offset=INT64,
    log_start_offset=INT64,
    diverging=st.one_of(st.none(), st.builds(EpochEnd, INT32, INT64)),
    aborted=st.one_of(st.none(), st.lists(ABORTED, max_size=2)),
)
ANSWER = st.one_of(
    st.tuples(INT32, st.just(ErrorCode.none.value), FETCHED),
    st.tuples(INT32, st.sampled_from([e.value for e in ErrorCode if e.value]), st.none()),
)


def with_kio(payload: Any) -> bytes:
    buffer = io.BytesIO()
    entity_writer(cast(Any, type(payload)))(buffer, payload)
    return buffer.getvalue()


def kio_partition(schema: Any, version: int, answer: Answer) -> Any:
    index, error_code, fetched = answer
    fields: dict[str, Any] = {"partition_index": index, "error_code": ErrorCode(error_code)}
    if fetched is None:
        return schema.PartitionData(
            **fields, high_watermark=-1, last_stable_offset=-1, aborted_transactions=None, records=b""
        )
    if version >= 5:
        fields["log_start_offset"] = fetched.log_start_offset
    if version >= 12 and fetched.diverging is not None:
        fields["diverging_epoch"] = schema.EpochEndOffset(
            epoch=fetched.diverging.epoch, end_offset=fetched.diverging.end_offset
        )
    aborted = None
    if fetched.aborted is not None:
        aborted = tuple(
            schema.AbortedTransaction(producer_id=a.producer_id, first_offset=a.first_offset)
            for a in fetched.aborted
        )
    return schema.PartitionData(
        **fields,
        high_watermark=fetched.high_watermark,
        last_stable_offset=fetched.last_stable_offset,
        aborted_transactions=aborted,
        records=fetched.records,
    )


@settings(deadline=None)
@given(
    version=st.integers(4, 17),
    error=st.sampled_from(ErrorCode),
    session_id=INT32,
    topics=st.dictionaries(TOPIC_ID, st.lists(ANSWER, max_size=3), max_size=3),
)
def test_responses_of_every_version(
    version: int, error: ErrorCode, session_id: int, topics: dict[bytes, list[Answer]]
) -> None:
    schema: Any = load_payload_module(1, version, EntityType.response)
    by_id = version >= fetch_encoding.TOPIC_IDS_VERSION
    ours = {topic_id if by_id else topic_id.hex(): answers for topic_id, answers in topics.items()}
    responses = tuple(
        schema.FetchableTopicResponse(
            **({"topic_id": uuid.UUID(bytes=topic_id)} if by_id else {"topic": topic_id.hex()}),
            partitions=tuple(kio_partition(schema, version, answer) for answer in answers),
        )
        for topic_id, answers in topics.items()
    )
    fields: dict[str, Any] = {"throttle_time": messages.milliseconds(0), "responses": responses}
    if version >= 7:
        fields |= {"error_code": error, "session_id": session_id}
    expected = schema.FetchResponse(**fields)
    written = fetch_encoding.response(version, error.value, session_id, cast(Any, ours))
    assert written.body == with_kio(expected)
    assert decode_response(encode_response(written, 7)[4:], 1, version) == (7, expected)


@settings(deadline=None)
@given(
    numbers=st.tuples(INT32, INT64, st.integers(0, 1 << 30), INT32, INT32, INT32, INT32, INT32),
    wanted=st.dictionaries(
        TOPIC_ID,
        st.lists(st.tuples(INT32, st.builds(FetchPosition, INT32, INT64, INT32), INT64), max_size=3),
        max_size=3,
    ),
    forgotten=st.dictionaries(TOPIC_ID, st.lists(INT32, max_size=3), max_size=2),
)
def test_a_followers_request(
    numbers: tuple[int, ...],
    wanted: dict[bytes, list[tuple[int, FetchPosition, int]]],
    forgotten: dict[bytes, list[int]],
) -> None:
    replica, broker_epoch, max_wait_ms, min_bytes, max_bytes, partition_max, session_id, epoch = numbers
    written = fetch_encoding.follower_request(
        replica=replica,
        broker_epoch=broker_epoch,
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        partition_max_bytes=partition_max,
        session_id=session_id,
        session_epoch=epoch,
        wanted=wanted,
        forgotten=forgotten,
    )
    expected = messages.request(
        1,
        fetch_encoding.FOLLOWER_VERSION,
        replica_state={"replica_id": replica, "replica_epoch": broker_epoch},
        max_wait=messages.milliseconds(max_wait_ms),
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        session_id=session_id,
        session_epoch=epoch,
        topics=[
            {
                "topic_id": uuid.UUID(bytes=topic_id),
                "partitions": [
                    {
                        "partition": index,
                        "current_leader_epoch": position.leader_epoch,
                        "fetch_offset": position.fetch_offset,
                        "last_fetched_epoch": position.last_fetched_epoch,
                        "log_start_offset": log_start_offset,
                        "partition_max_bytes": partition_max,
                    }
                    for index, position, log_start_offset in partitions
                ],
            }
            for topic_id, partitions in wanted.items()
        ],
        forgotten_topics_data=[
            {"topic_id": uuid.UUID(bytes=topic_id), "partitions": indices}
            for topic_id, indices in forgotten.items()
        ],
    )
    assert type(expected) is load_request_schema(1, fetch_encoding.FOLLOWER_VERSION)
    assert decode_request(encode_request(written, 7, "me")[4:]).payload == expected
    if (replica, broker_epoch) != (-1, -1):
        assert written.body == with_kio(expected)


def test_what_stays_in_files_is_the_same_answer(tmp_path: Path) -> None:
    disk = FolderDisk(tmp_path)
    disk.append("log", bytes(range(256)) * 4)
    fetched = Fetched(
        b"in memory",
        5,
        4,
        0,
        None,
        [AbortedTransaction(producer_id=7, first_offset=1, last_offset=3, stable_until=3)],
    )
    for version in range(4, 18):
        named = [bytes(range(16)), bytes(16)] if version >= 13 else ["t", "u"]
        answers = {
            name: [(0, 0, fetched._replace(records=StoredRecords(disk, "log", at, 300))), (1, 0, fetched)]
            for at, name in enumerate(named)
        }
        read = {
            name: [
                (i, e, f._replace(records=f.records if i else disk.read("log", at, 300))) for i, e, f in of
            ]
            for at, (name, of) in enumerate(answers.items())
        }
        streamed = fetch_encoding.response(version, 0, 9, cast(Any, answers))
        whole = fetch_encoding.response(version, 0, 9, cast(Any, read))
        assert isinstance(streamed, Streamed)
        assert streamed.size == whole.size
        assert encode_response(streamed, 3) == encode_response(whole, 3)
