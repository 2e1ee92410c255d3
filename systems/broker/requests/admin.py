"""CreateTopics (forwarded to the controller) and DescribeConfigs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, RequestContext

CREATE_TOPICS = 19
DESCRIBE_CONFIGS = 32
FORWARDED_VERSION = 7
TOPIC = 2
BROKER = 4
_TIMEOUT_MS = 3000
_DEFAULT_CONFIG = 5
_TOPIC_CONFIG = 1


class Admin:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            CREATE_TOPICS: (range(2, 8), self.on_create_topics),
            DESCRIBE_CONFIGS: (range(1, 5), self.on_describe_configs),
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

    async def on_describe_configs(self, context: RequestContext, request: Any) -> Any:
        return messages.response(
            context, results=[self._describe(resource) for resource in request.resources]
        )

    def _describe(self, resource: Any) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "error_code": ErrorCode.none,
            "error_message": None,
            "resource_type": resource.resource_type,
            "resource_name": resource.resource_name,
            "configs": (),
        }
        if resource.resource_type == TOPIC:
            topic = self._broker.image.topics.get(resource.resource_name)
            if topic is None:
                return answer | {"error_code": ErrorCode.unknown_topic_or_partition}
            found, source = dict(topic.config), _TOPIC_CONFIG
        elif resource.resource_type == BROKER:
            found, source = dict(self._broker.env.config), _DEFAULT_CONFIG
        else:
            return answer | {"error_code": ErrorCode.invalid_request}
        wanted = resource.configuration_keys
        answer["configs"] = [
            {
                "name": name,
                "value": str(value).lower() if isinstance(value, bool) else str(value),
                "read_only": True,
                "config_source": source,
                "is_sensitive": False,
                "synonyms": (),
                "documentation": None,
            }
            for name, value in sorted(found.items())
            if wanted is None or name in wanted
        ]
        return answer


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
