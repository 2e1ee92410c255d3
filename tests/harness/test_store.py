"""Run folders: unique, versioned, complete in what was written, and clear about what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from harness import store
from harness.errors import UserError
from harness.node import NodeEvent
from harness.schedule import Fault, Schedule
from harness.spec import Spec

SPEC = Spec(system="s", workload="w", nemesis="a+b", seed=3)
SCHEDULE = Schedule((Fault(at_ms=1, kind="kill", selector="all"),))


def test_a_run_folder_says_what_it_holds(tmp_path: Path) -> None:
    folder = store.create(tmp_path / "runs", SPEC, SCHEDULE)
    assert folder.name.endswith("-s-w-a+b-3")
    assert store.read_spec(folder) == SPEC
    assert store.read_schedule(folder) == SCHEDULE
    assert (tmp_path / "runs" / "latest").resolve() == folder.resolve()


def test_runs_of_the_same_second_do_not_collide(tmp_path: Path) -> None:
    folders = {store.create(tmp_path, SPEC, SCHEDULE) for _ in range(5)}
    assert len(folders) == 5
    assert (tmp_path / "latest").resolve() in folders


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file/runs.*--out"):
        store.create(tmp_path / "file" / "runs", SPEC, SCHEDULE)


def test_a_full_disk_names_the_folder_that_can_still_be_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = store.RunWriter(tmp_path, lambda: 0)
    writer.append(0, "invoke", "add", value=1)
    real = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, data: real(file, data[:10]))
        with pytest.raises(
            UserError, match=r"No space left on device: what was recorded so far.*chaos check"
        ):
            writer.append(0, "ok", "add", value="x" * 100)
    writer.close()
    history = store.read_run_history(tmp_path)
    assert len(history) == 1
    assert history.warnings == ()


def test_a_future_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    folder = store.create(tmp_path, SPEC, SCHEDULE)
    (folder / "spec.json").write_bytes(msgspec.json.encode(SPEC).replace(b'"version":1', b'"version":2'))
    with pytest.raises(UserError, match=r"format version 2, this chaos reads version 1: upgrade chaos"):
        store.read_spec(folder)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"seed": "x"}'])
def test_a_broken_spec_is_named(tmp_path: Path, content: str) -> None:
    folder = store.create(tmp_path, SPEC, SCHEDULE)
    (folder / "spec.json").write_text(content)
    with pytest.raises(UserError, match=r"spec\.json: not a spec file"):
        store.read_spec(folder)


def test_events_are_read_up_to_a_torn_line(tmp_path: Path) -> None:
    writer = store.EventWriter(tmp_path)
    event = NodeEvent(5, "n1", "leader-elected", {"epoch": 2})
    writer.append(event)
    writer.close()
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"time":6,"no')
    assert store.read_events(tmp_path) == [event]
    assert store.read_events(tmp_path / "nowhere") == []


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run"):
        store.find(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"it has no spec\.json"):
        store.find(tmp_path)
