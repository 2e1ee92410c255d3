"""A real disk that loses power holds what the simulated one would."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kept_disk import KeptDisk, lose_power


class Model:
    """Inodes with a content and a durable content; an fsync commits all names."""

    def __init__(self) -> None:
        self.names: dict[str, list[bytes]] = {}
        self.durable: dict[str, list[bytes]] = {}

    def lose(self) -> dict[str, bytes]:
        return {name: inode[1] for name, inode in self.durable.items()}

    def restart(self) -> None:
        self.names = {name: [content, content] for name, content in self.lose().items()}
        self.durable = dict(self.names)


NAMES = st.sampled_from(["a", "b", "folder/c"])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), NAMES, st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("write"), NAMES, st.binary(max_size=4)),
        st.tuples(st.just("truncate"), NAMES, st.integers(0, 6)),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("remove"), NAMES, st.none()),
        st.tuples(st.just("fsync"), NAMES, st.none()),
        st.tuples(st.just("reopen"), NAMES, st.none()),
        st.tuples(st.just("power"), NAMES, st.none()),
        st.tuples(
            st.just("killed"), NAMES, st.sampled_from(["create", "rename", "remove", "write", "truncate"])
        ),
    ),
    max_size=25,
)


class Killed(KeptDisk):
    """Of a process that dies between what it says and what it does: the lower disk is gone."""

    def append(self, name: str, data: bytes) -> int:
        if name not in self._image.names:
            self._tell("create", name)
        return 0

    def write(self, name: str, data: bytes) -> None:
        self._tell("rewrite", name, self._copy_aside(name) if self._keeps(name) else "")

    def truncate(self, name: str, size: int) -> None:
        cuts = self._keeps(name) and size < self._image.names[name].synced
        self._tell("truncate", name, size, self._copy_aside(name) if cuts else "")

    def rename(self, source: str, target: str) -> None:
        self._tell("rename", source, target, self._copy_aside(target) if self._needed(target) else "")

    def remove(self, name: str) -> None:
        self._tell("remove", name, self._copy_aside(name) if self._needed(name) else "")


def killed(model: Model, disk: Killed, name: str, doing: str) -> None:
    """Names are as if it had been done, content as if it had not."""
    names = model.names
    match doing:
        case "create" if name not in names:
            disk.append(name, b"x")
            names[name] = [b"", b""]
        case "rename" if name in names and name != "a":
            disk.rename(name, "a")
            names["a"] = names.pop(name)
        case "remove" if name in names:
            disk.remove(name)
            del names[name]
        case "write" if name in names:
            disk.write(name, b"new")
        case "truncate" if name in names and names[name][0]:
            disk.truncate(name, len(names[name][0]) - 1)


def apply(model: Model, disk: KeptDisk, kind: str, name: str, argument: Any) -> None:
    names = model.names
    match kind:
        case "append":
            disk.append(name, argument)
            names.setdefault(name, [b"", b""])[0] += argument
        case "write":
            disk.write(name, argument)
            names.setdefault(name, [b"", b""])[0] = argument
        case "truncate" if name in names and argument <= len(names[name][0]):
            disk.truncate(name, argument)
            names[name][0] = names[name][0][:argument]
        case "rename" if name in names and argument != name:
            disk.rename(name, argument)
            names[argument] = names.pop(name)
        case "remove" if name in names:
            disk.remove(name)
            del names[name]
        case "fsync" if name in names:
            asyncio.run(disk.fsync(name))
            names[name][1] = names[name][0]
            model.durable = dict(names)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_what_a_power_loss_leaves_is_what_was_durable(operations: list[tuple[str, str, Any]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root, beside = Path(folder) / "data", Path(folder) / "beside"
        model, disk = Model(), KeptDisk(root, beside)
        for kind, name, argument in [*operations, ("power", "a", None)]:
            if kind in ("power", "reopen", "killed"):
                if kind == "killed":
                    killed(model, Killed(root, beside), name, argument)
                if kind == "power":
                    lose_power(root, beside)
                    model.restart()
                disk = KeptDisk(root, beside)
                assert {n: disk.read(n) for n in disk.list()} == {n: i[0] for n, i in model.names.items()}
            else:
                apply(model, disk, kind, name, argument)


def test_what_is_put_aside_after_a_restart_takes_no_place_of_what_was_before(tmp_path: Path) -> None:
    root, beside = tmp_path / "data", tmp_path / "beside"
    disk = KeptDisk(root, beside)
    for name in ("a", "b", "c"):
        disk.append(name, f"durable {name}".encode())
        asyncio.run(disk.fsync(name))
    disk.write("a", b"new")
    disk.write("b", b"new")
    asyncio.run(disk.fsync("a"))
    again = KeptDisk(root, beside)
    again.write("c", b"new")
    lose_power(root, beside)
    held = KeptDisk(root, beside)
    assert [held.read(name) for name in ("a", "b", "c")] == [b"new", b"durable b", b"durable c"]


def test_a_torn_write_leaves_a_part_of_what_was_appended(tmp_path: Path) -> None:
    disk = KeptDisk(tmp_path / "data", tmp_path / "beside")
    disk.append("log", b"durable")
    asyncio.run(disk.fsync("log"))
    disk.append("log", b"0123456789")
    assert lose_power(tmp_path / "data", tmp_path / "beside", torn=0.5) == 5
    assert KeptDisk(tmp_path / "data", tmp_path / "beside").read("log") == b"durable01234"


def test_a_full_disk_takes_nothing(tmp_path: Path) -> None:
    disk = KeptDisk(tmp_path / "data", tmp_path / "beside")
    disk.full = True
    try:
        disk.append("log", b"x")
    except OSError as error:
        assert error.filename == "log"
    else:
        raise AssertionError("no error")
