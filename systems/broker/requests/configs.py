"""DescribeConfigs: every key that a topic or a broker obeys, its value, and where that comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kio.schema.errors import ErrorCode

from harness.settings import Setting
from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.settings import BROKER as BROKER_SETTINGS
from systems.broker.topic_config import BROKER_KEYS, SETTINGS, is_legal_topic_name

DESCRIBE_CONFIGS: Final = 32
TOPIC: Final = 2
BROKER: Final = 4
OF_THE_TOPIC, OF_THE_BROKER, BY_DEFAULT = 1, 4, 5
_BOOLEAN, _STRING, _INT, _LONG, _DOUBLE, _LIST = 1, 2, 3, 5, 6, 7
_KINDS: Final = {"bool": _BOOLEAN, "str": _STRING, "float": _DOUBLE}
_LISTS: Final = frozenset({"cleanup.policy", "log.cleanup.policy"})
_LONGS: Final = frozenset({"retention.bytes", "log.retention.bytes", "flush.messages"})


class Configs:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {DESCRIBE_CONFIGS: (range(1, 5), self.on_describe_configs)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_describe_configs(self, context: RequestContext, request: Any) -> Any:
        return messages.response(
            context,
            results=[
                self._describe(
                    resource,
                    synonyms=request.include_synonyms,
                    documentation=getattr(request, "include_documentation", False),
                )
                for resource in request.resources
            ],
        )

    def _describe(self, resource: Any, *, synonyms: bool, documentation: bool) -> dict[str, Any]:
        code, detail, entries = ErrorCode.none, None, []
        try:
            found = self._found(resource.resource_type, resource.resource_name)
        except KafkaError as error:
            code, detail = error.code, str(error)
        else:
            wanted = resource.configuration_keys
            entries = [
                entry
                | {"synonyms": entry["synonyms"] if synonyms else ()}
                | {"documentation": entry["documentation"] if documentation else None}
                for entry in found
                if wanted is None or entry["name"] in wanted
            ]
        return {
            "error_code": code,
            "error_message": detail,
            "resource_type": resource.resource_type,
            "resource_name": resource.resource_name,
            "configs": entries,
        }

    def _found(self, kind: int, name: str) -> list[dict[str, Any]]:
        if kind == TOPIC:
            if not is_legal_topic_name(name):
                raise KafkaError(ErrorCode.invalid_topic_exception, f"illegal topic name '{name}'")
            topic = self._broker.image.topics.get(name)
            if topic is None:
                raise KafkaError(ErrorCode.unknown_topic_or_partition, f"no topic '{name}'")
            return [self._of_topic(key, topic.config) for key in sorted(BROKER_KEYS)]
        if kind == BROKER and name == "":
            return []  # nothing was altered for all brokers: their settings are those of the run
        if kind == BROKER:
            if name != str(self._broker.env.id):
                raise KafkaError(
                    ErrorCode.invalid_request, f"this is broker {self._broker.env.id}, not {name}"
                )
            settings = sorted(BROKER_SETTINGS, key=lambda s: s.name)
            return [_entry(s.name, s, self._sources(s), read_only=True) for s in settings]
        raise KafkaError(ErrorCode.invalid_request, f"resources of type {kind} are not configured")

    def _of_topic(self, key: str, own: Mapping[str, Any]) -> dict[str, Any]:
        setting = SETTINGS[BROKER_KEYS[key]]
        sources = self._sources(setting)
        if key in own:
            sources = [(key, _text(own[key]), OF_THE_TOPIC), *sources]
        return _entry(key, setting, sources, read_only=False)

    def _sources(self, setting: Setting) -> list[tuple[str, str, int]]:
        """(key, value, source), the one that holds first."""
        value = self._broker.env.config.get(setting.name, setting.default)
        default = (setting.name, _text(setting.default), BY_DEFAULT)
        return (
            [default] if value == setting.default else [(setting.name, _text(value), OF_THE_BROKER), default]
        )


def _entry(
    key: str, setting: Setting, sources: list[tuple[str, str, int]], *, read_only: bool
) -> dict[str, Any]:
    _, value, source = sources[0]
    return {
        "name": key,
        "value": value,
        "read_only": read_only,
        "config_source": source,
        "is_sensitive": False,
        "synonyms": [{"name": name, "value": text, "source": where} for name, text, where in sources],
        "config_type": _kind(key, setting),
        "documentation": setting.doc,
    }


def _kind(key: str, setting: Setting) -> int:
    if key in _LISTS:
        return _LIST
    return _KINDS.get(setting.kind, _LONG if key.endswith(".ms") or key in _LONGS else _INT)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
