"""Requests that change the cluster's metadata: a broker hands them to the active controller as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, RequestContext

DELETE_TOPICS: Final = 20
ALTER_CONFIGS: Final = 33
CREATE_PARTITIONS: Final = 37
ELECT_LEADERS: Final = 43
INCREMENTAL_ALTER_CONFIGS: Final = 44
ALTER_CLIENT_QUOTAS: Final = 49
VERSIONS: Final[Mapping[int, range]] = {
    DELETE_TOPICS: range(1, 7),
    ALTER_CONFIGS: range(0, 3),
    CREATE_PARTITIONS: range(0, 4),
    ELECT_LEADERS: range(0, 3),
    INCREMENTAL_ALTER_CONFIGS: range(0, 2),
    ALTER_CLIENT_QUOTAS: range(0, 2),
}
_TIMEOUT_MS = 3000
_TIMED_OUT = ErrorCode.request_timed_out


class Forwarding:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {key: (versions, self.on_forwarded) for key, versions in VERSIONS.items()}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_forwarded(self, context: RequestContext, request: Any) -> Any:
        timeout = getattr(request, "timeout", None)
        timeout_ms = messages.in_milliseconds(timeout) if timeout is not None else _TIMEOUT_MS
        try:
            return await self._broker.call_controller(request, timeout_ms=timeout_ms or _TIMEOUT_MS)
        except (OSError, TimeoutError) as error:
            detail = f"the controller did not answer: {error}"
            return messages.response(context, **_UNANSWERED[context.api_key](context, request, detail))


def _deleted(context: RequestContext, request: Any, detail: str) -> dict[str, Any]:
    if context.version >= 6:
        topics = [{"name": t.name, "topic_id": t.topic_id} for t in request.topics]
    else:
        topics = [{"name": name, "topic_id": None} for name in request.topic_names]
    return {"responses": [t | {"error_code": _TIMED_OUT, "error_message": detail} for t in topics]}


def _altered(_: RequestContext, request: Any, detail: str) -> dict[str, Any]:
    return {
        "responses": [
            {
                "error_code": _TIMED_OUT,
                "error_message": detail,
                "resource_type": resource.resource_type,
                "resource_name": resource.resource_name,
            }
            for resource in request.resources
        ]
    }


def _grown(_: RequestContext, request: Any, detail: str) -> dict[str, Any]:
    return {
        "results": [
            {"name": topic.name, "error_code": _TIMED_OUT, "error_message": detail}
            for topic in request.topics
        ]
    }


def _elected(_: RequestContext, request: Any, detail: str) -> dict[str, Any]:
    return {
        "error_code": _TIMED_OUT,
        "replica_election_results": [
            {
                "topic": topic.topic,
                "partition_result": [
                    {"partition_id": index, "error_code": _TIMED_OUT, "error_message": detail}
                    for index in topic.partitions
                ],
            }
            for topic in request.topic_partitions or ()
        ],
    }


def _limited(_: RequestContext, request: Any, detail: str) -> dict[str, Any]:
    return {
        "entries": [
            {
                "error_code": _TIMED_OUT,
                "error_message": detail,
                "entity": [
                    {"entity_type": part.entity_type, "entity_name": part.entity_name}
                    for part in entry.entity
                ],
            }
            for entry in request.entries
        ]
    }


_UNANSWERED: Final[Mapping[int, Callable[[RequestContext, Any, str], dict[str, Any]]]] = {
    DELETE_TOPICS: _deleted,
    ALTER_CONFIGS: _altered,
    CREATE_PARTITIONS: _grown,
    ELECT_LEADERS: _elected,
    INCREMENTAL_ALTER_CONFIGS: _altered,
    ALTER_CLIENT_QUOTAS: _limited,
}
"""What each is answered where no controller can be asked."""
