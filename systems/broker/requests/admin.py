"""CreateTopics, forwarded to the controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, RequestContext

CREATE_TOPICS = 19
FORWARDED_VERSION = 7
_TIMEOUT_MS = 3000


class Admin:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            CREATE_TOPICS: (range(2, 8), self.on_create_topics),
        }

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_create_topics(self, context: RequestContext, request: Any) -> Any:
        timeout_ms = messages.in_milliseconds(request.timeout)
        forwarded = messages.request(
            CREATE_TOPICS,
            FORWARDED_VERSION,
            topics=[
                {
                    "name": topic.name,
                    "num_partitions": topic.num_partitions,
                    "replication_factor": topic.replication_factor,
                    "assignments": [
                        {"partition_index": a.partition_index, "broker_ids": a.broker_ids}
                        for a in topic.assignments
                    ],
                    "configs": [{"name": c.name, "value": c.value} for c in topic.configs],
                }
                for topic in request.topics
            ],
            timeout=messages.milliseconds(timeout_ms),
            validate_only=request.validate_only,
        )
        try:
            answer = await self._broker.call_controller(forwarded, timeout_ms=timeout_ms or _TIMEOUT_MS)
        except (OSError, TimeoutError) as error:
            return messages.response(
                context, topics=[_refused(topic.name, str(error)) for topic in request.topics]
            )
        return messages.response(
            context,
            topics=[
                {
                    "name": topic.name,
                    "topic_id": topic.topic_id,
                    "error_code": topic.error_code,
                    "error_message": topic.error_message,
                    "num_partitions": topic.num_partitions,
                    "replication_factor": topic.replication_factor,
                    "configs": (),
                }
                for topic in answer.topics
            ],
        )


async def create_topic(broker: Broker, name: str) -> None:
    """With the broker's defaults, for `auto.create.topics.enable`. Whether it worked shows in the image."""
    request = messages.request(
        CREATE_TOPICS,
        FORWARDED_VERSION,
        topics=[
            {
                "name": name,
                "num_partitions": int(broker.env.config.get("num.partitions", 1)),
                "replication_factor": int(broker.env.config.get("replication.factor", 3)),
                "assignments": (),
                "configs": (),
            }
        ],
        timeout=messages.milliseconds(_TIMEOUT_MS),
    )
    try:
        await broker.call_controller(request, timeout_ms=_TIMEOUT_MS)
    except (OSError, TimeoutError):
        return


def _refused(name: str, detail: str) -> dict[str, Any]:
    return {
        "name": name,
        "topic_id": None,
        "error_code": ErrorCode.request_timed_out,
        "error_message": f"the controller did not answer: {detail}",
        "configs": (),
    }
