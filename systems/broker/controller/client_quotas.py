"""AlterClientQuotas: the quotas of users and client ids (KIP-546)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import KafkaError, RequestContext
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.metadata import DEFAULT_ENTITY, QuotaChange, QuotaEntity
from systems.broker.quotas.entities import (
    CLIENT_ID,
    CONSUMER_BYTE_RATE,
    PRODUCER_BYTE_RATE,
    REQUEST_PERCENTAGE,
    USER,
)

_WHOLE: Final = frozenset({PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE})
_KEYS: Final = frozenset({*_WHOLE, REQUEST_PERCENTAGE})


class ClientQuotas:
    def __init__(self, log: MetadataLog) -> None:
        self._log = log

    async def on_alter_client_quotas(self, context: RequestContext, request: Any) -> Any:
        answers = []
        for entry in request.entries:
            code, detail = ErrorCode.none, None
            try:
                await self._alter(entry, validate_only=request.validate_only)
            except KafkaError as error:
                code, detail = error.code, str(error)
            answers.append(
                {
                    "error_code": code,
                    "error_message": detail,
                    "entity": [
                        {"entity_type": part.entity_type, "entity_name": part.entity_name}
                        for part in entry.entity
                    ],
                }
            )
        return messages.response(context, entries=answers)

    async def _alter(self, entry: Any, *, validate_only: bool) -> None:
        self._log.require_active()
        entity = _entity(entry.entity)
        old = next((q.values for q in self._log.pending.quotas if q.entity == entity), {})
        new = _changed(old, entry.ops)
        if new != old and not validate_only:
            await self._log.committed(self._log.append([QuotaChange(entity, new)]))


def _entity(parts: Any) -> QuotaEntity:
    named: dict[str, str] = {}
    for part in parts:
        if part.entity_type not in (USER, CLIENT_ID):
            raise KafkaError(
                ErrorCode.invalid_request,
                f"quotas are of a {USER} or a {CLIENT_ID}, not a {part.entity_type}",
            )
        if part.entity_name == "":
            raise KafkaError(ErrorCode.invalid_request, f"a {part.entity_type} without a name")
        if part.entity_type in named:
            raise KafkaError(ErrorCode.invalid_request, f"two of {part.entity_type}")
        named[part.entity_type] = DEFAULT_ENTITY if part.entity_name is None else part.entity_name
    if not named:
        raise KafkaError(ErrorCode.invalid_request, "a quota of nobody")
    return QuotaEntity(named.get(USER), named.get(CLIENT_ID))


def _changed(old: Mapping[str, float], operations: Any) -> dict[str, float]:
    values = dict(old)
    for operation in operations:
        key, value = operation.key, operation.value
        if key not in _KEYS:
            raise KafkaError(ErrorCode.invalid_request, f"quota {key}: known are {', '.join(sorted(_KEYS))}")
        if operation.remove:
            values.pop(key, None)
            continue
        if not 0 < value < float("inf") or (key in _WHOLE and value != int(value)):
            raise KafkaError(ErrorCode.invalid_request, f"quota {key} of {value}")
        values[key] = value
    return values
