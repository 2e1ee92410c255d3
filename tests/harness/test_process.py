"""The disk of a real node keeps the promises of `harness.node.Disk`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness.folder_disk import FolderDisk


@pytest.fixture
def disk(tmp_path: Path) -> FolderDisk:
    return FolderDisk(tmp_path / "disk")


def test_append_read_truncate(disk: FolderDisk) -> None:
    assert disk.append("a/log", b"hello ") == 6
    assert disk.append("a/log", b"world") == 11
    assert disk.read("a/log", 6) == b"world"
    assert disk.read("a/log", 0, 5) == b"hello"
    disk.truncate("a/log", 5)
    assert disk.append("a/log", b"!") == 6
    assert disk.read("a/log") == b"hello!"
    assert disk.size("a/log") == 6


def test_rename_replaces_and_later_appends_go_to_the_new_file(disk: FolderDisk) -> None:
    disk.append("old", b"old")
    disk.append("log", b"log")
    disk.rename("old", "log")
    assert disk.read("log") == b"old"
    disk.append("log", b"+")
    disk.append("old", b"new")
    assert (disk.read("log"), disk.read("old")) == (b"old+", b"new")


def test_write_replaces_and_remove_removes(disk: FolderDisk) -> None:
    disk.append("f", b"long content")
    disk.write("f", b"x")
    disk.append("f", b"y")
    assert disk.read("f") == b"xy"
    disk.remove("f")
    assert not disk.exists("f")
    for missing in (disk.read, disk.size, disk.remove):
        with pytest.raises(FileNotFoundError):
            missing("f")


def test_names_are_listed_in_order(disk: FolderDisk) -> None:
    for name in ("b", "a/2", "a/1", "ab"):
        disk.append(name, b"")
    assert disk.list() == ["a/1", "a/2", "ab", "b"]
    assert disk.list("a/") == ["a/1", "a/2"]


def test_fsync_needs_the_file(disk: FolderDisk) -> None:
    disk.append("a/b/c", b"x")
    asyncio.run(disk.fsync("a/b/c"))
    with pytest.raises(FileNotFoundError):
        asyncio.run(disk.fsync("nothing"))
