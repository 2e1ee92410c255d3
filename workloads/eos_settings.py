"""The settings of workload `eos`."""

from __future__ import annotations

from harness.settings import Setting

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="eos.partitions",
        default=4,
        doc="Partitions of the input topic and of the output topic",
        scope="workload",
        minimum=1,
        maximum=1_000,
    ),
    Setting(
        name="eos.pipelines",
        default=2,
        doc="Pipelines that share the input partitions (with manual assignment)",
        scope="workload",
        minimum=1,
        maximum=1_000,
    ),
    Setting(
        name="eos.batch.records",
        default=10,
        doc="Inputs that one transaction takes at most",
        scope="workload",
        minimum=1,
        maximum=1_000,
    ),
    Setting(
        name="eos.assignment",
        default="manual",
        doc="Who hands out input partitions: fixed by pipeline, or the consumer group",
        scope="workload",
        choices=("manual", "subscribe"),
    ),
    Setting(
        name="eos.offsets",
        default="transaction",
        doc="Consumer offsets are committed in the transaction, or separately after it",
        scope="workload",
        choices=("transaction", "separate"),
    ),
    Setting(
        name="eos.producer",
        default="transactional",
        doc="Outputs are written in transactions, or by a producer that is idempotent and no more: its successor writes "
        "what it had not committed the offsets of once more",
        scope="workload",
        choices=("transactional", "idempotent"),
    ),
    Setting(
        name="eos.rewind",
        default=True,
        doc="After an abort the consumer goes back to the committed offsets",
        scope="workload",
    ),
    Setting(
        name="eos.transactional.id",
        default="shared",
        doc="One transactional id a pipeline, shared with its successors, or one an instance",
        scope="workload",
        choices=("shared", "instance"),
    ),
    Setting(
        name="eos.abort.probability",
        default=0.08,
        doc="Share of transactions that their pipeline aborts on purpose",
        scope="workload",
        minimum=0,
        maximum=1,
    ),
    Setting(
        name="eos.crash.probability",
        default=0.03,
        doc="Share of transactions in which the pipeline's process dies",
        scope="workload",
        minimum=0,
        maximum=1,
    ),
    Setting(
        name="eos.stall.probability",
        default=0.01,
        doc="Share of transactions in which the pipeline sleeps, up to longer than transaction.timeout.ms",
        scope="workload",
        minimum=0,
        maximum=1,
    ),
)
