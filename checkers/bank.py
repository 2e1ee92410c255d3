"""Checker `bank`: transfers move money, and every reader of all accounts sees all of it.

    transfer           {"from": a, "to": b, "amount": n}
    read, final-read   the ok's value: {account: balance}

The total is `bank.accounts` times `bank.balance`; where the configuration does not say, what the first reader saw.
Transfers do not change it, whatever became of them, so that each read is judged by itself (Jepsen's bank test).
A level that allows G-single allows a reader to see half of a transfer, and a transfer to overwrite another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checkers.transactions.checker import promised
from checkers.transactions.models import forbidden
from checkers.violations import Violation, answer
from harness.checker import CheckContext
from harness.errors import UserError
from harness.history import History
from harness.ops import Operation
from harness.results import Result

READS = frozenset({"read", "final-read"})
MOST_TOLD = 12


class BankChecker:
    description = "the balances of all accounts always sum up to the same, and none is negative"
    anomalies: Mapping[str, str] = {
        "wrong-total": "a read of all accounts shows more or less money than there is",
        "negative-balance": "an account was overdrawn, which is not allowed",
        "missing-account": "a read of all accounts lacks one, or shows one that there never was",
    }

    def validate(self, config: Mapping[str, Any]) -> None:
        """Raises `UserError` with the nearest known name of a consistency model."""
        promised(CheckContext(config=config))

    def check(self, history: History, context: CheckContext) -> Result:
        reads = [o for o in history.operations if o.f in READS and o.outcome == "ok"]
        transfers = [o for o in history.operations if o.f == "transfer" and o.outcome != "fail"]
        for read in reads:
            _refuse_other_shapes(read)
        total = _total(context, reads)
        accounts = _accounts(context, reads)
        overdraft = bool(context.config.get("bank.negative", False))
        found = [v for read in reads for v in _violations(read, total, accounts, overdraft)]
        doubt = None
        if not reads or not transfers:
            what = "read of all accounts" if not reads else "transfer"
            doubt = f"no {what} succeeded in {len(history.operations)} operations"
        weak = "G-single" not in forbidden(promised(context))
        return answer(
            "bank",
            history,
            context,
            found,
            doubt=doubt,
            measures={"reads": len(reads), "transfers": len(transfers), "total": total},
            allowed=frozenset(self.anomalies) - {"missing-account"} if weak else frozenset(),
        )


def _refuse_other_shapes(read: Operation) -> None:
    """Raises `UserError` that names the event."""
    value = read.value
    if isinstance(value, Mapping) and all(b is None or type(b) is int for b in value.values()):
        return
    assert read.completion is not None
    raise UserError(
        f"operation with index {read.completion.index}: a read of a bank is {{account: balance}} with whole numbers, "
        f"got {str(value)[:80]}"
    )


def _total(context: CheckContext, reads: list[Operation]) -> int | None:
    accounts, balance = (context.config.get(f"bank.{key}") for key in ("accounts", "balance"))
    if accounts is not None and balance is not None:
        return int(accounts) * int(balance)
    return sum(b or 0 for b in reads[0].value.values()) if reads else None


def _accounts(context: CheckContext, reads: list[Operation]) -> list[Any]:
    count = context.config.get("bank.accounts")
    if count is not None:
        return [f"a{number}" for number in range(int(count))]
    return list(reads[0].value) if reads else []


def _violations(
    read: Operation, total: int | None, accounts: list[Any], overdraft: bool
) -> Iterator[Violation]:
    balances: Mapping[Any, int | None] = read.value
    who = f"process {read.process}"
    missing = [a for a in accounts if balances.get(a) is None]
    strange = [a for a in balances if a not in accounts]
    if missing or strange:
        told = [f"without {_listed(missing)}"] * bool(missing) + [f"with {_listed(strange)}"] * bool(strange)
        yield _violation("missing-account", read, f"{who} read the accounts {' and '.join(told)}")
        return
    seen = sum(b or 0 for b in balances.values())
    if seen != total:
        yield _violation(
            "wrong-total", read, f"{who} saw {seen} in all accounts, but there is {total}: {_told(balances)}"
        )
    if overdraft:
        return
    for account, balance in balances.items():
        if balance is not None and balance < 0:
            yield _violation("negative-balance", read, f"{who} saw {balance} on account {account}")
            return


def _violation(name: str, read: Operation, sentence: str) -> Violation:
    return Violation(name=name, where="all accounts", sentence=sentence, operations=(read,))


def _listed(accounts: list[Any]) -> str:
    more = f" and {len(accounts) - MOST_TOLD} more" if len(accounts) > MOST_TOLD else ""
    return ", ".join(map(str, accounts[:MOST_TOLD])) + more


def _told(balances: Mapping[Any, int | None]) -> str:
    return _listed([f"{account} has {balance}" for account, balance in balances.items()])
