"""What a leader keeps of producers whose transactions are being verified (KIP-890, semantics 2.4.2)."""

from __future__ import annotations

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.log.batch import BatchHeader
from systems.broker.producer_state import ProducerEntry


class Verification:
    """One producer's, from the question to the coordinator until its first record or a marker."""

    __slots__ = ("lowest_sequence", "producer_epoch", "raises_epoch")

    def __init__(self, producer_epoch: int, lowest_sequence: int, *, raises_epoch: bool) -> None:
        self.producer_epoch = producer_epoch
        self.lowest_sequence = lowest_sequence
        self.raises_epoch = raises_epoch
        """A client of transaction version 2, whose sequence begins anew with every transaction."""


class Verifications:
    """Of one partition."""

    def __init__(self) -> None:
        self._of: dict[int, Verification] = {}

    def begin(self, header: BatchHeader, *, raises_epoch: bool) -> Verification:
        """The guard to append that batch with."""
        known = self._of.get(header.producer_id)
        if known is None or header.producer_epoch > known.producer_epoch:
            known = Verification(header.producer_epoch, header.base_sequence, raises_epoch=raises_epoch)
            self._of[header.producer_id] = known
        elif header.producer_epoch == known.producer_epoch:
            known.lowest_sequence = min(known.lowest_sequence, header.base_sequence)
        return known

    def end(self, producer_id: int) -> None:
        """A marker: whatever was asked about is over."""
        self._of.pop(producer_id, None)

    def admit(self, header: BatchHeader, guard: object | None, known: ProducerEntry | None) -> None:
        """A transaction's first batch here, about to be appended. Raises `INVALID_TXN_STATE` where the guard
        is none or no longer good, `OUT_OF_ORDER_SEQUENCE_NUMBER` where another batch has to come before."""
        verification = self._of.get(header.producer_id)
        if verification is None or verification is not guard:
            raise KafkaError(
                ErrorCode.invalid_txn_state,
                f"producer {header.producer_id}'s transaction ended while it was verified",
            )
        begins = verification.raises_epoch and (known is None or not known.batches)
        if header.base_sequence > (0 if begins else verification.lowest_sequence):
            raise KafkaError(
                ErrorCode.out_of_order_sequence_number,
                f"producer {header.producer_id} begins a transaction with {header.base_sequence}",
            )
        del self._of[header.producer_id]
