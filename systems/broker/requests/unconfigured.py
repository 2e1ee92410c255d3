"""What an administrator may ask of any Kafka, and is told that it is not switched on: SASL, access rules, tokens,
reassignments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Handler, RequestContext

SASL_HANDSHAKE: Final = 17
DESCRIBE_ACLS, CREATE_ACLS, DELETE_ACLS = 29, 30, 31
SASL_AUTHENTICATE: Final = 36
DESCRIBE_DELEGATION_TOKEN: Final = 41
LIST_PARTITION_REASSIGNMENTS: Final = 46
DESCRIBE_USER_SCRAM_CREDENTIALS: Final = 50

_NO_RULES: Final = {
    "error_code": ErrorCode.security_disabled,
    "error_message": "this broker has no authorizer: everybody may do everything",
}


class Unconfigured:
    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            SASL_HANDSHAKE: (range(0, 2), self.on_sasl_handshake),
            SASL_AUTHENTICATE: (range(0, 3), self.on_sasl_authenticate),
            DESCRIBE_ACLS: (range(1, 4), self.on_describe_acls),
            CREATE_ACLS: (range(1, 4), self.on_create_acls),
            DELETE_ACLS: (range(1, 4), self.on_delete_acls),
            DESCRIBE_DELEGATION_TOKEN: (range(1, 4), self.on_describe_delegation_token),
            LIST_PARTITION_REASSIGNMENTS: (range(0, 1), self.on_list_partition_reassignments),
            DESCRIBE_USER_SCRAM_CREDENTIALS: (range(0, 1), self.on_describe_user_scram_credentials),
        }

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_sasl_handshake(self, context: RequestContext, request: Any) -> Any:
        return messages.response(context, error_code=ErrorCode.illegal_sasl_state, mechanisms=())

    async def on_sasl_authenticate(self, context: RequestContext, request: Any) -> Any:
        return messages.response(
            context,
            error_code=ErrorCode.illegal_sasl_state,
            error_message="nobody authenticates on this listener",
            auth_bytes=b"",
        )

    async def on_describe_acls(self, context: RequestContext, request: Any) -> Any:
        return messages.response(context, **_NO_RULES, resources=())

    async def on_create_acls(self, context: RequestContext, request: Any) -> Any:
        return messages.response(context, results=[_NO_RULES for _ in request.creations])

    async def on_delete_acls(self, context: RequestContext, request: Any) -> Any:
        return messages.response(
            context, filter_results=[_NO_RULES | {"matching_acls": ()} for _ in request.filters]
        )

    async def on_describe_delegation_token(self, context: RequestContext, request: Any) -> Any:
        return messages.response(
            context, error_code=ErrorCode.delegation_token_request_not_allowed, tokens=()
        )

    async def on_list_partition_reassignments(self, context: RequestContext, request: Any) -> Any:
        """Replicas stay where a partition was created: none is ever under way."""
        return messages.response(context, error_code=ErrorCode.none, error_message=None, topics=())

    async def on_describe_user_scram_credentials(self, context: RequestContext, request: Any) -> Any:
        """Nobody has any."""
        asked = [user.name for user in request.users or ()]
        return messages.response(
            context,
            error_code=ErrorCode.none,
            error_message=None,
            results=[
                {
                    "user": name,
                    "error_code": ErrorCode.duplicate_resource
                    if asked.count(name) > 1
                    else ErrorCode.resource_not_found,
                    "error_message": f"user '{name}' has no credentials",
                    "credential_infos": (),
                }
                for name in dict.fromkeys(asked)
            ],
        )
