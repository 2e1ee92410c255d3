"""`eos-loss` and `eos-duplicate`: inputs that contributed to the committed output not once."""

from __future__ import annotations

from checkers.exactly_once.outputs import Outputs
from checkers.exactly_once.transfers import Input, Transfers
from checkers.findings import Finding
from checkers.log.observations import Observations, shown


def repeated(seen: Observations, transfers: Transfers, outputs: Outputs) -> list[Finding]:
    """Inputs with several committed outputs. What read_committed shows is committed, whoever says otherwise; of
    what read_uncommitted shows only the outputs of acknowledged transactions are known to be."""
    findings: list[Finding] = []
    for source, places in outputs.by_source.items():
        committed = [p for p in places if outputs.is_committed(p, transfers)]
        if len(committed) < 2:
            continue
        names = list(dict.fromkeys(outputs.at[place].txn for place in committed))
        operations = [transfers.transactions[n].operation for n in names if n in transfers.transactions]
        findings.append(
            Finding(
                name="eos-duplicate",
                partition=_input_name(transfers, source),
                ops=tuple(index for operation in operations for index in seen.indices(operation)),
                value=source.value,
                offset=source.offset,
                detail={"outputs": [[*place, outputs.at[place].txn] for place in committed]},
            )
        )
    return findings


def lost(seen: Observations, transfers: Transfers, outputs: Outputs) -> list[Finding]:
    """Inputs below the group's committed offset without an output.

    Only where everything is known: the input's final read, the committed offset fetched at the end, and the final
    read of every output partition with no open transaction that could still hide something. What stands
    at or above the committed offset is not lost but left undone.
    """
    if transfers.final_offsets is None or transfers.final_fetch is None or not outputs.complete:
        return []
    findings: list[Finding] = []
    fetch = seen.indices(transfers.final_fetch)[-1:]
    passed = _passed_by(transfers)
    for name, committed in sorted(transfers.final_offsets.items()):
        partition = seen.partitions.get(name)
        if partition is None or partition.final is None or committed is None:
            continue
        index = int(name.rpartition("/")[2])
        for offset, value in partition.final.values.items():
            source = Input(index, offset, shown(value))
            if offset >= committed or outputs.contributes(source, transfers):
                continue
            rows = partition.writers.get(value, [])
            sent = seen.indices(partition.writes.operation[rows[0]]) if rows else ()
            read = [op for operation in passed.get((name, offset), ()) for op in seen.indices(operation)]
            findings.append(
                Finding(
                    name="eos-loss",
                    partition=name,
                    ops=(*sent, *read, *fetch),
                    value=value,
                    offset=offset,
                    detail={"committed": committed, "taken_by": passed.get((name, offset), [])},
                )
            )
    return findings


def left_undone(seen: Observations, transfers: Transfers) -> int:
    """Inputs at or above the committed offset: the drain did not finish, or they arrived too late for it."""
    rest = 0
    for name, committed in (transfers.final_offsets or {}).items():
        partition = seen.partitions.get(name)
        if partition is not None and partition.final is not None:
            rest += sum(offset >= (committed or 0) for offset in partition.final.values)
    return rest


def _passed_by(transfers: Transfers) -> dict[tuple[str, int], list[int]]:
    """Input place -> operations that took it, in order."""
    taken: dict[tuple[str, int], list[int]] = {}
    for transaction in transfers.transactions.values():
        for name, offset, _ in transaction.inputs:
            taken.setdefault((name, offset), []).append(transaction.operation)
    return taken


def _input_name(transfers: Transfers, source: Input) -> str:
    return f"{transfers.input_topic or 'input'}/{source.partition}"
