"""Brings what a node needs to a host's private folder: our source as it stands here, and the packages it imports.

The packages come from wheels for the host's Python and processor, unpacked here, so that the host needs neither pip
nor a network. All is one archive, named by the digest of its content, and kept there for the next run.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
import tempfile
import threading
from pathlib import Path

from harness.clusters.docker import packages
from harness.clusters.ssh.connection import Connection
from harness.errors import UserError
from harness.system import Foreign, System

OLDEST = (3, 11)
ASK = "import platform; print(platform.python_version(), platform.machine())"
UNPACK = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])"


class Program:
    """What is sent, for one kind of Python and processor; made once for all hosts alike."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._made: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._one_at_a_time = threading.Lock()

    def archive(self, python: str, machine: str) -> tuple[str, bytes]:
        """Its digest, and a gzipped tar with the folders `site` and `source`."""
        with self._one_at_a_time:
            if (python, machine) not in self._made:
                self._made[python, machine] = self._make(python, machine)
            return self._made[python, machine]

    def _make(self, python: str, machine: str) -> tuple[str, bytes]:
        tops, wanted = packages.of_node(self._system)
        site = packages.unpacked(wanted, python=python, machine=machine)
        with tempfile.TemporaryDirectory(prefix="chaos-ssh-") as scratch:
            source = Path(scratch)
            digest = packages.copy_source(["harness", "systems", *tops], source)
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
                archive.add(site, "site")
                archive.add(source, "source")
        named = hashlib.blake2b(f"{site.name} {digest}".encode(), digest_size=8).hexdigest()
        return named, packed.getvalue()


def install(connection: Connection, program: Program, home: str) -> str:
    """The `PYTHONPATH` of the installed program. `home` is the host's private folder. Raises `UserError`."""
    host = connection.host
    version, machine = connection.run(f"{host.python} -c {shlex.quote(ASK)}").split()
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        raise UserError(
            f"host {host.address}: {host.python} is {version}; nodes need 3.11 or later: name another with "
            "python = … in the inventory"
        )
    digest, archive = program.archive(version, machine)
    place = f"{home}/programs/{digest}"
    if connection.run(f"test -d {shlex.quote(place)} && echo there || true").strip() != "there":
        _unpack(connection, archive, home, place)
    return f"{place}/source:{place}/site"


def _unpack(connection: Connection, archive: bytes, home: str, place: str) -> None:
    """Beside its place first: an installation that broke off must not look like a whole one."""
    scratch = connection.run(
        f"mkdir -p {shlex.quote(home)}/programs && mktemp -d {shlex.quote(place)}.XXXX"
    ).strip()
    try:
        connection.files.putfo(io.BytesIO(archive), f"{scratch}.tar.gz")
    except OSError as error:
        raise UserError(
            f"host {connection.host.address}: nothing can be written to {home}: {error}"
        ) from None
    words = (connection.host.python, "-c", UNPACK, f"{scratch}.tar.gz", scratch)
    connection.run(" ".join(map(shlex.quote, words)))
    quoted, whole = shlex.quote(scratch), shlex.quote(place)
    connection.run(
        f"rm {quoted}.tar.gz; mv -T {quoted} {whole} 2>/dev/null || rm -rf {quoted}; test -d {whole}"
    )


def check_programs(connection: Connection, system: System) -> None:
    """Raises `UserError` where the host lacks a program that the system is made of."""
    if not isinstance(system, Foreign):
        return
    for name, package in system.programs.items():
        found = f"PATH=$PATH:/usr/sbin:/sbin command -v {shlex.quote(name)} || true"
        if not connection.run(found).strip():
            raise UserError(
                f"host {connection.host.address}: {name} is not installed there: apt-get install {package}"
            )
