"""BrokerRegistration: a broker process enters the cluster (semantics 2.1 rule 1)."""

from __future__ import annotations

from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import KafkaError, RequestContext
from systems.broker.controller.elections import Rules, drop_unclean
from systems.broker.controller.events import broker_name
from systems.broker.controller.heartbeats import Heartbeats
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.metadata import BrokerState, Record, RegisterBroker


class Registration:
    def __init__(self, log: MetadataLog, rules: Rules, heartbeats: Heartbeats) -> None:
        self._log = log
        self._rules = rules
        self._heartbeats = heartbeats

    async def on_broker_registration(self, context: RequestContext, request: Any) -> Any:
        try:
            epoch = await self._register(request)
        except KafkaError as error:
            return messages.response(context, error_code=error.code, broker_epoch=-1)
        return messages.response(context, error_code=ErrorCode.none, broker_epoch=epoch)

    async def _register(self, request: Any) -> int:
        """The new broker epoch, once committed."""
        self._log.require_active()
        broker_id, incarnation = int(request.broker_id), request.incarnation_id.bytes
        known = self._log.pending.brokers.get(broker_id)
        if known is not None and known.incarnation == incarnation:
            # The answer to an earlier attempt was lost.
            if self._log.image.brokers.get(broker_id) != known:
                raise KafkaError(ErrorCode.not_controller, "the earlier attempt is not committed yet")
            self._heartbeats.touch(broker_id)
            return known.epoch
        records: list[Record] = []
        fenced = self._must_be_fenced(known)
        clean = known is None or request.previous_broker_epoch == known.epoch
        if not clean and fenced:
            records += drop_unclean(self._log.pending, self._rules, broker_id)
        listener = request.listeners[0]
        records.append(
            RegisterBroker(
                broker_id=broker_id,
                name=broker_name(self._log.env, broker_id),
                host=listener.host,
                port=int(listener.port),
                incarnation=incarnation,
                clean=clean,
                fenced=fenced,
            )
        )
        appended = self._log.append(records)
        self._heartbeats.touch(broker_id)
        epoch = await self._log.committed(appended)
        self._log.env.step("controller.registration.committed")
        return epoch

    def _must_be_fenced(self, known: BrokerState | None) -> bool:
        """Rule 1: a new incarnation is accepted only once the old one is out of leadership and ISR, and
        starts fenced. Raises `DUPLICATE_BROKER_REGISTRATION`."""
        if known is None or known.fenced:
            return True
        if "fast-reboot-without-fencing" in self._rules.bugs:
            return False
        raise KafkaError(
            ErrorCode.duplicate_broker_registration,
            f"broker {known.id} is still in service as epoch {known.epoch}; wait for its session to end",
        )
