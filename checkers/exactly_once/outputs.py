"""The committed output, as far as it was read."""

from __future__ import annotations

from dataclasses import dataclass, field

from checkers.exactly_once.transfers import Input, Output, Transfers, parse_output, topic_of
from checkers.log.observations import Observations, Partition, Value
from checkers.log.version_order import version_order

Place = tuple[str, int]
"""(partition, offset)."""


@dataclass(slots=True)
class Outputs:
    """Outputs in the version order of every output partition."""

    at: dict[Place, Output] = field(default_factory=dict)
    by_source: dict[Input, list[Place]] = field(default_factory=dict)
    by_txn: dict[str, list[Place]] = field(default_factory=dict)
    foreign: list[tuple[Place, Value]] = field(default_factory=list)
    """Records that no pipeline writes."""
    partitions: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    """Output partitions without a final read to the end, with an open transaction that may hide records, or without
    their beginning."""
    removed: dict[str, int] = field(default_factory=dict)
    """Of those the ones whose beginning was removed, with the offset at which they begin now."""
    read_committed: bool = True

    @property
    def complete(self) -> bool:
        return bool(self.partitions) and not self.incomplete

    def is_committed(self, place: Place, transfers: Transfers) -> bool:
        if self.read_committed:
            return True
        transaction = transfers.transactions.get(self.at[place].txn)
        return transaction is not None and transaction.fate == "committed"

    def contributes(self, source: Input, transfers: Transfers) -> bool:
        """Some output of it is committed, or may be."""
        for place in self.by_source.get(source, ()):
            transaction = transfers.transactions.get(self.at[place].txn)
            if self.read_committed or transaction is None or transaction.fate != "aborted":
                return True
        return False


def collect_outputs(seen: Observations, transfers: Transfers) -> Outputs:
    outputs = Outputs(read_committed=seen.isolation == "read_committed")
    topics = _output_topics(seen, transfers)
    for name, partition in sorted(seen.partitions.items()):
        if topic_of(name) not in topics:
            continue
        outputs.partitions.append(name)
        if partition.final is None or partition.final.hidden or partition.final.log_start:
            outputs.incomplete.append(name)
            if partition.final is not None and partition.final.log_start:
                outputs.removed[name] = partition.final.log_start
        for offset, value in version_order(partition).items():
            _place(outputs, (name, offset), value)
    return outputs


def _place(outputs: Outputs, place: Place, value: Value) -> None:
    output = parse_output(value)
    if output is None:
        outputs.foreign.append((place, value))
        return
    outputs.at[place] = output
    outputs.by_source.setdefault(output.source, []).append(place)
    outputs.by_txn.setdefault(output.txn, []).append(place)


def _output_topics(seen: Observations, transfers: Transfers) -> frozenset[str]:
    """Topics that transfers wrote to; where none lived to tell, those whose records say that they are outputs."""
    told = {topic_of(name) for name in transfers.output_partitions}
    if told:
        return frozenset(told)
    return frozenset(
        topic_of(name) for name, partition in seen.partitions.items() if _holds_outputs(partition)
    )


def _holds_outputs(partition: Partition) -> bool:
    return not partition.writes.value and any(parse_output(v) is not None for v in partition.reads.value)
