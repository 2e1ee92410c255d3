"""DescribeTopicPartitions: topics page by page, with who else may lead (KIP-966)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, RequestContext
from systems.broker.requests.metadata import partition_described, topic_described, topic_unknown

DESCRIBE_TOPIC_PARTITIONS: Final = 75
PAGE: Final = 2000
"""Kafka's `max.request.partition.size.limit`: no answer has more partitions, whatever was asked for."""


class TopicPartitions:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {DESCRIBE_TOPIC_PARTITIONS: (range(0, 1), self.on_describe_topic_partitions)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_describe_topic_partitions(self, context: RequestContext, request: Any) -> Any:
        image = self._broker.image
        first, index = ("", 0)
        if request.cursor is not None:
            first, index = request.cursor.topic_name, max(request.cursor.partition_index, 0)
            if request.topics and first not in [topic.name for topic in request.topics]:
                refused = [
                    topic_unknown(topic.name, None, ErrorCode.invalid_request) for topic in request.topics
                ]
                return messages.response(context, topics=refused, next_cursor=None)
        names = {topic.name for topic in request.topics} or image.topics.keys()
        room = max(min(PAGE, request.response_partition_limit), 1)
        topics: list[dict[str, Any]] = []
        following = None
        for name in sorted(name for name in names if name >= first):
            topic = image.topics.get(name)
            begin = index if name == first else 0
            if topic is None:
                topics.append(topic_unknown(name, None, ErrorCode.unknown_topic_or_partition))
                continue
            if room == 0:
                following = {"topic_name": name, "partition_index": 0}
                break
            page = list(enumerate(topic.partitions))[begin : begin + room]
            partitions = [
                partition_described(image, number, state)
                | {"eligible_leader_replicas": state.elr, "last_known_elr": state.last_known_elr}
                for number, state in page
            ]
            topics.append(topic_described(image, topic) | {"partitions": partitions})
            room -= len(page)
            if begin + len(page) < len(topic.partitions):
                following = {"topic_name": name, "partition_index": begin + len(page)}
                break
        return messages.response(context, topics=topics, next_cursor=following)
