"""Looking up who wrote a value: each (key, value) is written once, and that is what makes it traceable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checkers.transactions.micro_operations import WRITE, Ints, Transactions, named_key
from harness.errors import UserError


class WrittenTwice(UserError):
    """The one way in which a history that the model knows cannot be judged as a whole."""


@dataclass(frozen=True, slots=True)
class Writers:
    """The write of each (key, value): a sorted table for whole arrays of questions."""

    values: Ints
    codes: Ints
    writes: Ints

    def find(self, key: Ints, value: Ints) -> Ints:
        """The micro-operations that wrote `value` to `key`; -1 where nobody did."""
        if not len(self.codes) or not len(key):
            return np.full(len(key), -1, dtype=np.int64)
        rank = np.minimum(np.searchsorted(self.values, value), len(self.values) - 1)
        code = key * len(self.values) + rank
        place = np.minimum(np.searchsorted(self.codes, code), len(self.codes) - 1)
        found = (self.values[rank] == value) & (self.codes[place] == code)
        return np.where(found, self.writes[place], -1)


def writers(txns: Transactions, what: str) -> Writers:
    """Raises `WrittenTwice` where the same value is written to the same key twice."""
    writes = np.flatnonzero(txns.kind == WRITE)
    values = np.unique(txns.value[writes])
    codes = txns.key[writes] * len(values) + np.searchsorted(values, txns.value[writes])
    order = np.argsort(codes, kind="stable")
    codes, writes = codes[order], writes[order]
    twice = np.flatnonzero(codes[1:] == codes[:-1])
    if len(twice):
        first, second = int(writes[twice[0]]), int(writes[twice[0] + 1])
        raise WrittenTwice(
            f"{txns.name(int(txns.txn[second]))} {what} {txns.plain_value(int(txns.value[second]))!r} to "
            f"{named_key(txns.keys[int(txns.key[second])])} although {txns.name(int(txns.txn[first]))} did so already: "
            "every value of a key must be written once, or nobody can say whose it was"
        )
    return Writers(values, codes, writes)
