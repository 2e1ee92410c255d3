"""Workload `bank`: transfers between accounts, and readers of all of them. Money is neither made nor lost.

    transfer   {"from": a, "to": b, "amount": n}: reads both balances and writes both, in one transaction
    read       every account in one transaction: the ok's value is {account: balance}

A transfer decides by what it read: without overdrafts it fails where the balance does not suffice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.capabilities import DefiniteFailure, InteractiveTransactions, Transaction
from harness.generators import Context, Generator, Rate, Repeat
from harness.settings import Setting
from harness.topology import Topology
from harness.workload import Client, Completion, Invocation, Test, ok
from workloads.store_client import StoreClient
from workloads.transacting import consistency_model

MOST = 5
"""The biggest amount of one transfer."""
READ_SHARE = 0.5


class Bank:
    description = "transfers between accounts: is the total always the same, and no balance negative?"
    requires = frozenset({"interactive-transactions"})
    settings: tuple[Setting, ...] = (
        Setting(name="bank.accounts", default=8, minimum=2, scope="workload", doc="Accounts"),
        Setting(
            name="bank.balance", default=10, minimum=0, scope="workload", doc="What each of them has at first"
        ),
        Setting(
            name="bank.negative", default=False, scope="workload", doc="Whether balances may become negative"
        ),
        consistency_model(),
    )
    checkers: tuple[str, ...] = ("bank", "availability")
    default_rate = 200.0
    default_concurrency = 10

    def validate(self, topology: Topology, config: Mapping[str, Any]) -> None:
        return None

    def subjects(self, config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {}

    async def setup(self, test: Test) -> None:
        store = _store(test, "setup")
        await store.prepare(dict.fromkeys(_accounts(test.config), int(test.config["bank.balance"])))
        await store.close()

    def client(self, test: Test, slot: int, process: int, host: str) -> Client:
        store = _store(test, host)
        accounts, overdraft = _accounts(test.config), bool(test.config["bank.negative"])

        async def transfer(op: Invocation) -> Completion:
            source, target, amount = op.value["from"], op.value["to"], op.value["amount"]

            async def move(transaction: Transaction) -> None:
                left = (await transaction.read(source) or 0) - amount
                there = await transaction.read(target) or 0
                if left < 0 and not overdraft:
                    raise DefiniteFailure(f"{source} has not enough: {left + amount}")
                await transaction.write(source, left)
                await transaction.write(target, there + amount)

            await store.interact(move)
            return ok(op.value)

        async def read(op: Invocation) -> Completion:
            async def look(transaction: Transaction) -> dict[str, Any]:
                return {account: await transaction.read(account) for account in accounts}

            return ok(await store.interact(look, read_only=True))

        return StoreClient({"transfer": transfer, "read": read}, store)

    def generator(self, test: Test) -> Generator:
        accounts = _accounts(test.config)

        def make(context: Context) -> Invocation:
            if context.random.random() < READ_SHARE:
                return Invocation(f="read")
            source, target = context.random.sample(accounts, 2)
            amount = context.random.randint(1, MOST)
            return Invocation(f="transfer", value={"from": source, "to": target, "amount": amount})

        return Rate(Repeat(make), test.rate)

    def final_generator(self, test: Test) -> Generator | None:
        return None


def _store(test: Test, host: str) -> InteractiveTransactions:
    store: InteractiveTransactions = test.system.client(
        "interactive-transactions", test.cluster, host, test.config
    )
    return store


def _accounts(config: Mapping[str, Any]) -> list[str]:
    return [f"a{number}" for number in range(int(config["bank.accounts"]))]
