"""Whole runs of the toy system in simulation: outcomes of operations, phases, and what makes a run `unknown`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import UserError
from harness.execute import Outcome, execute
from harness.history import read_history
from harness.ops import NEMESIS
from harness.results import Verdict
from harness.schedule import Fault, Schedule
from harness.spec import Spec

pytestmark = pytest.mark.usefixtures("toy")


def run(root: Path | None = None, **asked: Any) -> Outcome:
    settings = asked.pop("settings", {})
    defaults: dict[str, Any] = {"system": "toy-bag", "workload": "bag", "time_limit_ms": 5_000}
    return execute(Spec(**{**defaults, **asked}, settings=settings), root=root)


def mischief(tmp_path: Path, what: str, **settings: Any) -> tuple[Outcome, list[Any]]:
    outcome = run(tmp_path, settings={"bag.mischief": what, **settings})
    assert outcome.folder is not None
    return outcome, read_history(outcome.folder / "history.jsonl").ops


def test_an_undisturbed_run_is_valid() -> None:
    result = run().result
    assert result.verdict is Verdict.VALID
    assert result.reason is None
    assert result.ops["ok"] > 150
    assert result.ops["info"] == result.ops["fail"] == 0
    assert result.situations == {"node-served": 3, "never": 0}
    assert result.steps == {"bag.add": result.ops["ok"] - 2}
    assert result.promise == "what was acknowledged stays in the bag"


def test_killing_the_leader_loses_nothing_that_was_acknowledged() -> None:
    result = run(nemesis="toy-kill").result
    assert result.verdict is Verdict.VALID
    assert result.ops["info"] > 0
    assert result.faults == {"scheduled": 5, "fired": 5, "bitten": 5, "overlapping": 5}


def test_a_mistake_of_the_system_is_found() -> None:
    result = run(nemesis="toy-kill", bugs=("amnesia",)).result
    assert result.verdict is Verdict.INVALID
    assert {a.name for a in result.anomalies} == {"lost-write"}


def test_phases_follow_each_other() -> None:
    phases = run(nemesis="toy-cut").result.phases
    assert phases is not None
    times = list(msgspec.structs.astuple(phases))
    assert None not in times
    assert times == sorted(times)
    assert times[1] - times[0] >= 5_000_000_000


def test_a_definite_failure_is_fail_and_the_process_lives_on(tmp_path: Path) -> None:
    outcome, ops = mischief(tmp_path, "refused")
    assert outcome.result.ops["fail"] > 10
    assert outcome.result.ops["info"] == 0
    assert {op.process for op in ops} == {0, 1}


def test_an_unknown_outcome_is_info_and_a_fresh_process_takes_over(tmp_path: Path) -> None:
    _, ops = mischief(tmp_path, "lost")
    infos = [op for op in ops if op.type == "info"]
    assert infos[0].error == "OSError: connection lost"
    for index, op in enumerate(ops):
        if op.type == "info":
            assert all(later.process != op.process for later in ops[index + 1 :])
    assert {op.process for op in ops if op.process % 2 == 0} > {0, 2, 4}


def test_an_operation_without_an_answer_is_info_after_its_timeout(tmp_path: Path) -> None:
    outcome, ops = mischief(tmp_path, "hang", **{"op.timeout.ms": "400"})
    assert outcome.result.verdict is Verdict.VALID
    started = {op.process: op.time for op in ops if op.type == "invoke"}
    timeouts = [op for op in ops if op.error == "timeout"]
    assert timeouts
    assert all(op.time - started[op.process] == pytest.approx(400e6, rel=0.01) for op in timeouts)


def test_a_client_may_retire_with_a_known_outcome(tmp_path: Path) -> None:
    outcome, ops = mischief(tmp_path, "retire")
    assert outcome.result.ops["info"] == 0
    adds = [op.process for op in ops if op.f == "add" and op.type == "ok"]
    assert len(adds) == len(set(adds))


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("bug", "TypeError in add: a wrong program"),
        ("generator", "workload 'bag': RuntimeError: generator went wrong"),
        ("setup", "ValueError: setup went wrong"),
    ],
)
def test_a_wrong_program_makes_the_run_unknown_and_keeps_the_traceback(
    tmp_path: Path, what: str, reason: str
) -> None:
    outcome, _ = mischief(tmp_path, what)
    assert outcome.result.verdict is Verdict.UNKNOWN
    assert reason in (outcome.result.reason or "")
    assert "toy_bag.py" in outcome.result.problems[0].traceback
    assert len(outcome.result.problems) == 1


def test_a_node_that_dies_by_itself_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import toy_bag

    async def dying(env: Any) -> None:
        if env.name == "n2":
            raise ValueError("corrupt")
        await toy_bag.bag_node(env)

    async def ready(self: object, cluster: object) -> None: ...

    monkeypatch.setattr(toy_bag.ToyBag, "program", lambda self: dying)
    monkeypatch.setattr(toy_bag.ToyBag, "ready", ready)
    result = run(settings={"recovery.timeout.ms": 1_000}).result
    assert result.verdict is Verdict.UNKNOWN
    assert "node n2 died by itself" in (result.reason or "")
    assert "had not recovered 1 s after the heal" in (result.reason or "")


def test_a_system_that_is_never_ready_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="was not ready after 2 s"):
        run(system="toy-mute", settings={"ready.timeout.ms": 2_000})


def test_a_final_phase_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import toy_bag

    monkeypatch.setattr(toy_bag.BagWorkload, "final_generator", toy_bag.BagWorkload.generator)
    result = run(settings={"final.timeout.ms": 3_000}).result
    assert "the final phase was not over after 3 s" in (result.reason or "")


def test_an_operation_that_outlasts_its_phase_is_info_and_its_process_never_acts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import toy_bag

    from harness.generators import Repeat
    from harness.workload import Invocation

    def patient(self: object, test: object) -> Repeat:
        return Repeat(lambda context: Invocation(f="add", value=1, timeout_ms=600_000))

    monkeypatch.setattr(toy_bag.BagWorkload, "generator", patient)
    _, ops = mischief(tmp_path, "hang", **{"op.timeout.ms": "500"})
    ended = [op.process for op in ops if op.error == "phase ended"]
    assert ended == [0, 1] or ended == [1, 0]
    assert {op.process for op in ops if op.f == "read"} == {2, 3}


def broken_for_good(selector: str) -> Schedule:
    return Schedule((Fault(at_ms=1_000, kind="kill", selector=selector),))


def test_everything_heals_by_default() -> None:
    assert run(schedule=broken_for_good("all")).result.verdict is Verdict.VALID


def test_with_final_core_only_the_core_comes_back(tmp_path: Path) -> None:
    outcome = run(
        tmp_path, schedule=broken_for_good("all"), final="core", settings={"final.timeout.ms": 2_000}
    )
    assert outcome.folder is not None
    history = read_history(outcome.folder / "history.jsonl")
    [restart] = [op for op in history.faults if op.f == "restart" and op.type == "ok"]
    assert len(restart.value["targets"]) == 2


def test_with_final_none_nothing_heals_and_nothing_need_recover(tmp_path: Path) -> None:
    outcome = run(tmp_path, schedule=broken_for_good("n2"), final="none")
    assert outcome.folder is not None
    assert [op.f for op in read_history(outcome.folder / "history.jsonl").faults] == ["kill", "kill"]
    assert outcome.result.verdict is Verdict.VALID


def test_a_crash_at_a_step_kills_the_node_before_its_next_instruction(tmp_path: Path) -> None:
    crash = Fault(at_ms=1_000, kind="crash-at", selector="n1", duration_ms=500, params={"step": "bag.add"})
    outcome = run(tmp_path, schedule=Schedule((crash,)), concurrency=1)
    assert outcome.folder is not None
    history = read_history(outcome.folder / "history.jsonl")
    [victim] = [op for op in history.operations if op.outcome == "info"]
    assert victim.value not in history.operations[-1].value
    assert outcome.result.faults["bitten"] == 1


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    first, second = (run(tmp_path, nemesis="toy-kill+toy-cut", seed=5) for _ in range(2))
    assert first.folder != second.folder
    assert first.result.trace_digest == second.result.trace_digest
    for name in ("history.jsonl", "events.jsonl", "schedule.json", "spec.json"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()  # type: ignore[operator]
    assert run(seed=6, nemesis="toy-kill+toy-cut").result.trace_digest != first.result.trace_digest


def test_processes_and_faults_are_told_apart(tmp_path: Path) -> None:
    outcome = run(tmp_path, nemesis="toy-kill")
    assert outcome.folder is not None
    history = read_history(outcome.folder / "history.jsonl")
    assert all(op.process == NEMESIS for op in history.faults)
    assert all(isinstance(op.process, int) for op in history.operations)
