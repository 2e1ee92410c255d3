"""ApiVersions: what this broker speaks, and which features the cluster has finalized."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, RequestContext
from systems.broker.metadata import ELR_FEATURE, TRANSACTION_FEATURE

API_VERSIONS = 18
VERSIONS = range(0, 5)
_CLIENT_NAME_SINCE = 3
_CLIENT_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
SUPPORTED_FEATURES = {TRANSACTION_FEATURE: (0, 2), ELR_FEATURE: (0, 1)}


class ApiVersions:
    """`table` gives everything that is served, this included."""

    def __init__(self, broker: Broker, table: Callable[[], Mapping[int, tuple[range, Handler]]]) -> None:
        self._broker = broker
        self._table = table

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {API_VERSIONS: (VERSIONS, self.on_api_versions)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_api_versions(self, context: RequestContext, request: Any) -> Any:
        """A client of a version that we do not speak is told in version 0 which ones we do (KIP-511)."""
        if context.version not in VERSIONS:
            return messages.response(
                context._replace(version=0),
                error_code=ErrorCode.unsupported_version,
                api_keys=[_entry(API_VERSIONS, VERSIONS)],
            )
        if context.version >= _CLIENT_NAME_SINCE and not (
            _CLIENT_NAME.fullmatch(request.client_software_name)
            and _CLIENT_NAME.fullmatch(request.client_software_version)
        ):
            return messages.response(context, error_code=ErrorCode.invalid_request, api_keys=())
        image = self._broker.image
        return messages.response(
            context,
            error_code=ErrorCode.none,
            api_keys=[_entry(key, versions) for key, (versions, _) in sorted(self._table().items())],
            supported_features=[
                {"name": name, "min_version": low, "max_version": high}
                for name, (low, high) in SUPPORTED_FEATURES.items()
                if context.version >= 4 or low > 0
            ],
            finalized_features_epoch=max(image.offset, 0),
            finalized_features=[
                {"name": name, "max_version_level": level, "min_version_level": level}
                for name, level in sorted(image.features.items())
                if level > 0
            ],
        )


def _entry(key: int, versions: range) -> dict[str, int]:
    return {"api_key": key, "min_version": versions.start, "max_version": versions.stop - 1}
