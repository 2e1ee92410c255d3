"""How a lost or repeated input is explained: from its sending through transactions to the committed output."""

from __future__ import annotations

from scenes import MS, Scenario

from checkers.exactly_once import ExactlyOnceChecker
from harness.results import Anomaly


def found(run: Scenario, name: str) -> Anomaly:
    result = ExactlyOnceChecker().check(run.history(), run.context(workload="eos"))
    [anomaly] = result.anomalies
    assert anomaly.name == name
    return anomaly


def transfer(
    run: Scenario, span: tuple[int, int], process: int, txn: str, inputs: list[tuple[int, str]], outcome: str
) -> list[str]:
    """Over `input/0`; each input becomes one output of `output/0`. Returns the outputs."""
    count = len(inputs)
    outputs = [f"0@{o}={v} by {txn} {n}/{count}" for n, (o, v) in enumerate(inputs, start=1)]
    value = {
        "inputs": [["input/0", o, v] for o, v in inputs],
        "outputs": [["output/0", None, v] for v in outputs],
    }
    run.op(
        span,
        process,
        "transfer",
        "0",
        value,
        {"committed": "ok", "aborted": "fail"}[outcome],  # type: ignore[arg-type]
        asked={"txn": txn, "plan": {"aborted": "abort"}.get(outcome, "commit")},
        txn=txn,
        outcome=outcome,
        transactional_id="eos-0",
    )
    return outputs


def settled(run: Scenario, inputs: list[str], outputs: list[str], committed: int) -> None:
    run.final_read(9_000, inputs, "input/0")
    run.final_read(9_100, outputs, "output/0")
    run.op((9_200, 9_210), 91, "committed", None, [["input/0", committed]])


def sent(run: Scenario, at: int, value: str, offset: int) -> None:
    run.op((at, at + 5), 7, "send", "input/0", value, offset=offset)


def skipped_input() -> Scenario:
    run = Scenario()
    sent(run, 100, "7:0", 0)
    sent(run, 120, "7:1", 1)
    transfer(run, (200, 220), 3, "3.0", [(0, "7:0")], "aborted")
    run.event(215, "b2", "txn-state", transactional_id="eos-0", state="PrepareAbort", epoch=1)
    run.event(215, "b2", "txn-aborted", transactional_id="eos-0", reason="client")
    run.event(230, "b2", "txn-state", transactional_id="eos-0", state="CompleteAbort", epoch=1)
    made = transfer(run, (300, 320), 3, "3.1", [(1, "7:1")], "committed")
    run.event(318, "b2", "txn-state", transactional_id="eos-0", state="PrepareCommit", epoch=2)
    settled(run, ["7:0", "7:1"], made, 2)
    return run


def test_an_input_that_was_skipped_after_an_abort() -> None:
    anomaly = found(skipped_input(), "eos-loss")
    assert anomaly.summary == (
        "input/0 offset 0: `7:0` was taken by transaction 3.0 of process 3 (aborted at 0.220 s), and has no committed output; "
        "transaction 3.1 of process 3 went on from offset 1 and committed at 0.320 s, and the group's offset with it "
        "(1 of 2 inputs of input/0, 50 %)"
    )
    assert [(m.time // MS, m.node, m.text) for m in anomaly.story] == [
        (100, None, "process 7 sends `7:0` to input/0"),
        (105, None, "`7:0` is acknowledged at offset 0 to process 7"),
        (200, None, "process 3 begins transaction 3.0, which takes 1 input (the workload makes it abort)"),
        (215, "b2", "b2 (coordinator) aborts the transaction of eos-0, as its client asked"),
        (220, "b2", "process 3 is told that transaction 3.0 is aborted"),
        (230, "b2", "b2 (coordinator) has aborted the transaction of eos-0 everywhere (producer epoch 1)"),
        (300, None, "process 3 begins transaction 3.1, which goes on from input/0 offset 1"),
        (318, "b2", "b2 (coordinator) decides to commit the transaction of eos-0 (producer epoch 2)"),
        (320, "b2", "process 3 is told that transaction 3.1 is committed"),
        (
            9_210,
            None,
            "the group's committed offset of input/0 is 2: offset 0 counts as done, and no committed output comes from it",
        ),
    ]


def test_an_input_whose_transaction_nobody_lived_to_tell_of() -> None:
    run = Scenario()
    sent(run, 100, "7:0", 0)
    sent(run, 120, "7:1", 1)
    made = transfer(run, (300, 320), 3, "3.1", [(1, "7:1")], "committed")
    settled(run, ["7:0", "7:1"], made, 2)
    anomaly = found(run, "eos-loss")
    assert "`7:0` was taken by nobody that lived to tell, and has no committed output" in anomaly.summary
    assert anomaly.data["inputs"]["transactions"] == []


def test_an_input_that_was_done_again() -> None:
    run = Scenario()
    sent(run, 100, "7:0", 0)
    made = transfer(run, (200, 220), 3, "3.0", [(0, "7:0")], "committed")
    made += transfer(run, (400, 420), 4, "4.0", [(0, "7:0")], "committed")
    settled(run, ["7:0"], made, 1)
    anomaly = found(run, "eos-duplicate")
    assert anomaly.summary == (
        "input/0 offset 0: `7:0` has 2 committed outputs, output/0 offset 0 by transaction 3.0 (committed at 0.220 s) and "
        "output/0 offset 1 by transaction 4.0 (committed at 0.420 s) (1 of 1 inputs of input/0, 100 %)"
    )
    assert anomaly.story[-1].text == (
        "the final read of output/0 (2 records, to its end offset 2) has an output of it at offset "
        "0 (transaction 3.0) and 1 (transaction 4.0)"
    )
    assert [(row["txn"], row["outputs"]) for row in anomaly.data["inputs"]["transactions"]] == [
        ("3.0", [["output/0", 0]]),
        ("4.0", [["output/0", 1]]),
    ]


def test_events_of_the_neighbours_under_the_same_id_are_not_told() -> None:
    story = found(skipped_input(), "eos-loss").story
    assert sum("CompleteAbort" in m.text or "has aborted" in m.text for m in story) == 1
    run = skipped_input()
    run.event(205, "b2", "txn-state", transactional_id="eos-0", state="CompleteCommit", epoch=0)
    run.event(400, "b2", "txn-state", transactional_id="eos-1", state="PrepareCommit", epoch=9)
    assert found(run, "eos-loss").story == story


def test_a_transaction_of_which_a_part_is_missing() -> None:
    run = Scenario()
    sent(run, 100, "7:0", 0)
    sent(run, 120, "7:1", 1)
    made = transfer(run, (200, 220), 3, "3.0", [(0, "7:0"), (1, "7:1")], "committed")
    run.final_read(9_100, made[:1], "output/0")
    anomaly = found(run, "torn-txn")
    assert anomaly.summary == (
        "transaction 3.0 of process 3 (committed at 0.220 s) wrote 2 outputs, of which read_committed shows 1 and not 2"
    )
    assert anomaly.story[-1].text == (
        "the final read of output/0 (1 record, to its end offset 1) has output 1 of 2 of transaction 3.0 at offset 0"
    )
