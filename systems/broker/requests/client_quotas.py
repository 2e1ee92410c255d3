"""DescribeClientQuotas, from the metadata that this broker has (KIP-546)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.metadata import DEFAULT_ENTITY, QuotaEntity
from systems.broker.quotas.entities import CLIENT_ID, USER

DESCRIBE_CLIENT_QUOTAS: Final = 48
ADDRESS: Final = "ip"
EXACT, DEFAULT, ANY = range(3)


class DescribingQuotas:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {DESCRIBE_CLIENT_QUOTAS: (range(0, 2), self.on_describe_client_quotas)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_describe_client_quotas(self, context: RequestContext, request: Any) -> Any:
        try:
            wanted = _wanted(request.components)
        except KafkaError as error:
            return messages.response(context, error_code=error.code, error_message=str(error), entries=None)
        return messages.response(
            context,
            error_code=ErrorCode.none,
            error_message=None,
            entries=[
                {
                    "entity": [
                        {"entity_type": kind, "entity_name": None if name == DEFAULT_ENTITY else name}
                        for kind, name in _parts(each.entity).items()
                    ],
                    "values": [{"key": key, "value": value} for key, value in sorted(each.values.items())],
                }
                for each in self._broker.image.quotas
                if _matches(_parts(each.entity), wanted, strict=request.strict)
            ],
        )


def _wanted(components: Any) -> dict[str, tuple[int, str | None]]:
    wanted: dict[str, tuple[int, str | None]] = {}
    for component in components:
        kind, match = component.entity_type, component.match_type
        if kind in wanted:
            raise KafkaError(ErrorCode.invalid_request, f"two components of {kind}")
        if kind not in (USER, CLIENT_ID, ADDRESS):
            raise KafkaError(ErrorCode.unsupported_version, f"quotas are not of a {kind}")
        if match not in (EXACT, DEFAULT, ANY) or (match == EXACT) != (component.match is not None):
            raise KafkaError(ErrorCode.invalid_request, f"match type {match} with {component.match}")
        wanted[kind] = (match, component.match)
    if ADDRESS in wanted and len(wanted) > 1:
        raise KafkaError(ErrorCode.invalid_request, "an address has no user and no client id")
    return wanted


def _parts(entity: QuotaEntity) -> dict[str, str]:
    parts = {USER: entity.user, CLIENT_ID: entity.client_id}
    return {kind: name for kind, name in parts.items() if name is not None}


def _matches(parts: Mapping[str, str], wanted: Mapping[str, tuple[int, str | None]], *, strict: bool) -> bool:
    if strict and len(parts) != len(wanted):
        return False
    for kind, (match, name) in wanted.items():
        if kind not in parts or (
            match != ANY and parts[kind] != (name if match == EXACT else DEFAULT_ENTITY)
        ):
            return False
    return True
