"""Transactions in `__transaction_state`: the transactional id as key, JSON as value (readable in a dump)."""

from __future__ import annotations

import msgspec

from systems.broker.transactions.state import Transaction

_decoder = msgspec.json.Decoder(Transaction)


def encode(txn: Transaction) -> tuple[bytes, bytes]:
    return txn.transactional_id.encode(), msgspec.json.encode(txn)


def decode(value: bytes) -> Transaction:
    return _decoder.decode(value)
