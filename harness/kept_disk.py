"""A real folder as a disk that can lose power: what an fsync has not covered can be taken back.

The model is that of the simulated disk (`harness.sim.disk`), and of ext4: an fsync makes a file's content durable, and
with it the names (creations, renames, removals) of all. Whatever replaces or removes durable content copies it aside
first, and says so in a journal beside the disk, which needs no fsync itself: the machine never really loses power. The
journal is written ahead: where a process was killed before it did what it had said last, the next one does it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from harness.folder_disk import FolderDisk

JOURNAL = "journal.jsonl"
ASIDE = "aside"


class Inode:
    """A file under whatever name. What is durable are the first `synced` bytes, of `before` where that is set."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.synced = 0
        self.before = ""
        """Name, in the folder `ASIDE`, of what the file was before a rewrite that is not durable."""
        self.moved = ""
        """The same of the file itself, where it has no name any more."""
        self.rewrites = 0
        self.floor: int | None = None
        """The smallest size since the last fsync."""


class Image:
    """What is there and what is durable, as the journal tells it."""

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self.durable: dict[str, Inode] = {}
        self.numbers = 0

    def tell(self, line: list[Any]) -> None:
        match line:
            case ["create", name]:
                self.numbers += 1
                self.names[name] = Inode(self.numbers)
            case ["rewrite", name, aside]:
                inode = self.names[name]
                inode.rewrites += 1
                if aside and not inode.before:
                    inode.before = aside
                elif not inode.before:
                    inode.synced = inode.floor = 0
            case ["truncate", name, size, aside]:
                inode = self.names[name]
                inode.rewrites += 1
                if aside and not inode.before:
                    inode.before = aside
                elif not inode.before:
                    inode.synced = min(inode.synced, size)
                    inode.floor = size if inode.floor is None else min(inode.floor, size)
            case ["rename", source, target, aside]:
                if target in self.names:
                    self.names[target].moved = aside
                self.names[target] = self.names.pop(source)
            case ["remove", name, aside]:
                self.names.pop(name).moved = aside
            case ["sync", name, size, rewrites]:
                if name in self.names:
                    inode = self.names[name]
                    if inode.rewrites == rewrites:
                        inode.before = ""
                        inode.synced, inode.floor = size, None
                    elif not inode.before and inode.floor is not None:
                        # It was cut while the fsync went on, which covered what is left.
                        inode.synced = max(inode.synced, min(size, inode.floor))
                self.durable = dict(self.names)


def _read(root: Path, journal: Path) -> Image:
    """What the journal tells, with the last of it done."""
    image = Image()
    if not journal.exists():
        return image
    held = journal.read_bytes()
    *lines, torn = held.split(b"\n")
    if torn:
        os.truncate(journal, len(held) - len(torn))
    for line in lines:
        image.tell(msgspec.json.decode(line))
    if lines:
        _redo(root, msgspec.json.decode(lines[-1]))
    return image


def _redo(root: Path, line: list[Any]) -> None:
    """Of names only: content that was to be cut or replaced is just not durable."""
    match line:
        case ["create", name] if not (root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        case ["rename", source, target, _] if (root / source).exists():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            (root / source).replace(root / target)
        case ["remove", name, _]:
            (root / name).unlink(missing_ok=True)


class KeptDisk(FolderDisk):
    """`root` is the disk; `beside`, a folder, has what is needed to take back what is not durable."""

    def __init__(self, root: Path, beside: Path) -> None:
        super().__init__(root)
        self._aside = beside / ASIDE
        self._aside.mkdir(parents=True, exist_ok=True)
        journal = beside / JOURNAL
        self._image = _read(root, journal)
        self._journal = journal.open("ab", buffering=0)
        self._kept_aside = {path.name for path in self._aside.iterdir()}
        # A number is not given again: what was put aside under it may still be needed.
        self._number = max(map(int, self._kept_aside), default=0)

    def append(self, name: str, data: bytes) -> int:
        if name not in self._image.names:
            self._tell("create", name)
        return super().append(name, data)

    def write(self, name: str, data: bytes) -> None:
        if name not in self._image.names:
            self._tell("create", name)
        else:
            self._tell("rewrite", name, self._copy_aside(name) if self._keeps(name) else "")
        super().write(name, data)

    def truncate(self, name: str, size: int) -> None:
        if name in self._image.names and size < self.size(name):
            cuts = self._keeps(name) and size < self._image.names[name].synced
            self._tell("truncate", name, size, self._copy_aside(name) if cuts else "")
        super().truncate(name, size)

    def rename(self, source: str, target: str) -> None:
        self._tell("rename", source, target, self._copy_aside(target) if self._needed(target) else "")
        super().rename(source, target)

    def remove(self, name: str) -> None:
        if name in self._image.names:
            self._tell("remove", name, self._copy_aside(name) if self._needed(name) else "")
        super().remove(name)

    async def fsync(self, name: str) -> None:
        inode = self._image.names.get(name)
        if inode is None:
            await super().fsync(name)
            return
        size, rewrites = self.size(name), inode.rewrites
        await super().fsync(name)
        if self._image.names.get(name) is not inode:
            # It has another name by now, or none.
            name = next((n for n, i in self._image.names.items() if i is inode), name)
        self._tell("sync", name, size, rewrites)
        if self._kept_aside:
            self._drop_what_nobody_needs()

    def _drop_what_nobody_needs(self) -> None:
        inodes = {*self._image.names.values(), *self._image.durable.values()}
        needed = {aside for inode in inodes for aside in (inode.before, inode.moved)}
        for aside in self._kept_aside - needed:
            (self._aside / aside).unlink()
        self._kept_aside &= needed

    def _keeps(self, name: str) -> bool:
        """Some of its content is durable, and not yet put aside."""
        inode = self._image.names.get(name)
        return inode is not None and inode.synced > 0 and not inode.before

    def _needed(self, name: str) -> bool:
        inode = self._image.names.get(name)
        return inode is not None and inode in self._image.durable.values() and self._path(name).exists()

    def _copy_aside(self, name: str) -> str:
        self._number += 1
        aside = f"{self._number:08}"
        self._kept_aside.add(aside)
        shutil.copyfile(self._path(name), self._aside / aside)
        return aside

    def _tell(self, *line: Any) -> None:
        self._image.tell(list(line))
        self._journal.write(msgspec.json.encode(line) + b"\n")


def lose_power(root: Path, beside: Path, torn: float | None = None) -> int:
    """Takes back what is not durable on the disk of a process that is gone; returns how many bytes. `torn`, in
    [0, 1), lets so much of what was appended since the last fsync survive."""
    image = _read(root, beside / JOURNAL)
    before = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    paths = {inode.number: root / name for name, inode in image.names.items()}
    kept: dict[str, bytes] = {}
    for name, inode in image.durable.items():
        source = beside / ASIDE / inode.before if inode.before else paths.get(inode.number)
        if source is None:
            source = beside / ASIDE / inode.moved
        content = source.read_bytes()
        unsynced = b"" if inode.before else content[inode.synced :]
        kept[name] = content[: inode.synced] + (unsynced[: int(torn * len(unsynced))] if torn else b"")
    fresh = root.with_name(root.name + ".after")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    lines: list[tuple[Any, ...]] = []
    for name, content in sorted(kept.items()):
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        lines += [("create", name), ("sync", name, len(content), 0)]
    shutil.rmtree(root)
    fresh.rename(root)
    shutil.rmtree(beside / ASIDE, ignore_errors=True)
    (beside / JOURNAL).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return before - sum(map(len, kept.values()))
