"""What no broker does, and how it says so: by an error where Kafka has one, by hanging up where it has none."""

from __future__ import annotations

import asyncio
import datetime
import struct
from typing import Any

from ..session import Answer, Session

API_VERSIONS, METADATA, HEARTBEAT = 18, 3, 12
ANSWERS_WITHIN_S = 5.0
_ONE_SECOND = datetime.timedelta(seconds=1)


async def _sent(kafka: Session, *frames: bytes) -> list[Any]:
    """What comes back for frames on one connection: for each answer its correlation id and the 16-bit number
    that follows, which is an error in the messages asked here; `closed` where the broker hangs up."""
    await kafka.metadata()
    address = kafka.address(kafka.any_node)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    answers: list[Any] = []
    try:
        for frame in frames:
            writer.write(struct.pack(">i", len(frame)) + frame)
        for _ in frames:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                answers.append(list(struct.unpack_from(">ih", await reader.readexactly(size))))
    except (asyncio.IncompleteReadError, ConnectionError):
        answers.append("closed")
    except TimeoutError:
        answers.append("silence")
    finally:
        writer.close()
    return answers


def _header(api_key: int, version: int, correlation_id: int = 7) -> bytes:
    return struct.pack(">hhih", api_key, version, correlation_id, -1)


def _api_versions(version: int, correlation_id: int = 1) -> bytes:
    if version < 3:
        return _header(API_VERSIONS, version, correlation_id)
    return _header(API_VERSIONS, version, correlation_id) + b"\0\2a\2b\0"


async def versions_and_keys_nobody_speaks(kafka: Session) -> Answer:
    return {
        "an unknown API": await _sent(kafka, _header(999, 0) + b"\0"),
        "a negative API": await _sent(kafka, _header(-3, 0)),
        "an API of controllers": await _sent(kafka, _header(52, 0) + b"\0"),
        "an old produce": await _sent(kafka, _header(0, 2) + b"\0\1\0\0\0\0\0\0\0\0"),
        "a future metadata": await _sent(kafka, _header(METADATA, 99) + b"\0\0"),
        "a negative version": await _sent(kafka, _header(METADATA, -1) + b"\0\0\0\0"),
    }


async def hanging_up_answers_nothing_behind(kafka: Session) -> Answer:
    return {
        "before": await _sent(kafka, _api_versions(0, 1), _header(999, 0), _api_versions(0, 3)),
    }


async def asking_for_versions(kafka: Session) -> Answer:
    return {
        f"version {version}": await _sent(kafka, _api_versions(version), _api_versions(0, 2))
        for version in (0, 2, 3, 4, 99)
    } | {
        "a body that is none": await _sent(kafka, _header(API_VERSIONS, 3) + b"\0\xff"),
        "a negative version": await _sent(kafka, _header(API_VERSIONS, -1)),
        "bytes behind": await _sent(kafka, _api_versions(3) + b"more"),
    }


async def bytes_that_are_nothing(kafka: Session) -> Answer:
    return {
        "half a header": await _sent(kafka, b"\0\3"),
        "a body cut short": await _sent(kafka, _header(HEARTBEAT, 1) + b"\0\3g"),
        "a string that is too long": await _sent(kafka, _header(HEARTBEAT, 1) + b"\x7f\xffg"),
        "a null that may not be": await _sent(
            kafka, _header(HEARTBEAT, 1) + b"\xff\xff" + b"\0\0\0\1" + b"\0\1m"
        ),
        "a huge array": await _sent(kafka, _header(METADATA, 1) + b"\x7f\xff\xff\xff"),
    }


async def tags_of_the_future(kafka: Session) -> Answer:
    newer = b"\1\x63\3new"
    return {
        "in the body": await _sent(kafka, _header(API_VERSIONS, 3) + b"\0\2a\2b" + newer),
        "in the header": await _sent(kafka, _header(API_VERSIONS, 3) + newer + b"\2a\2b\0"),
    }


async def _asked(kafka: Session, api_key: int, version: int, **fields: Any) -> Any:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            answer = await kafka.ask(kafka.any_node, api_key, version, lane=str(api_key), **fields)
    except TimeoutError:
        return "silence"
    except OSError:
        return "closed"
    plain = kafka.plain(answer)
    return {name: plain[name] for name in plain if plain[name]}


async def what_is_not_configured(kafka: Session) -> Answer:
    """No authorizer, no SASL, no tokens: there is an answer for whoever asks."""
    nobody = {"principal": "User:a", "host": "*", "operation": 3, "permission_type": 3}
    return {
        "a SASL handshake": await _asked(kafka, 17, 1, mechanism="PLAIN"),
        "SASL itself": await _asked(kafka, 36, 1, auth_bytes=b"x"),
        "access rules": await _asked(
            kafka,
            29,
            3,
            resource_type_filter=1,
            resource_name_filter=None,
            pattern_type_filter=1,
            principal_filter=None,
            host_filter=None,
            operation=1,
            permission_type=1,
        ),
        "a rule": await _asked(
            kafka,
            30,
            3,
            creations=[{"resource_type": 2, "resource_name": "t", "resource_pattern_type": 3, **nobody}],
        ),
        "no rules": await _asked(
            kafka,
            31,
            3,
            filters=[
                {
                    "resource_type_filter": 1,
                    "resource_name_filter": None,
                    "pattern_type_filter": 1,
                    "principal_filter": None,
                    "host_filter": None,
                    "operation": 1,
                    "permission_type": 1,
                }
            ],
        ),
        "tokens": await _asked(kafka, 41, 3, owners=None),
    }


async def reassignments(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")

    async def listed(topics: Any) -> Any:
        answer = await kafka.ask(kafka.any_node, 46, 0, timeout=_ONE_SECOND, topics=topics)
        return kafka.plain(answer)

    return {
        "none": await listed(None),
        "of a topic": await listed([{"name": topic, "partition_indexes": [0]}]),
        "of no topic": await listed([{"name": kafka.own("nothing"), "partition_indexes": [0]}]),
    }


async def credentials(kafka: Session) -> Answer:
    return {
        "everybody's": await _asked(kafka, 50, 0, users=None),
        "nobody's": await _asked(kafka, 50, 0, users=[]),
        "a stranger's": await _asked(kafka, 50, 0, users=[{"name": "stranger"}]),
        "a stranger's twice": await _asked(kafka, 50, 0, users=[{"name": "stranger"}, {"name": "stranger"}]),
        "without a name": await _asked(kafka, 50, 0, users=[{"name": ""}]),
    }
