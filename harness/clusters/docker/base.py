"""A base image without a registry: Debian from this machine's own mirror, by debootstrap."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness.clusters.docker.engine import explained
from harness.errors import UserError

BASE_NAME = "chaos-base:latest"
SUITE = "bookworm"
"""The oldest Debian whose Python is recent enough."""
PACKAGES = ("python3", "iptables", "iproute2")
MIRROR = "http://deb.debian.org/debian"
SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))


def build_base(client: Any) -> str:
    """Makes and imports the image; its name. Raises `UserError`."""
    if os.geteuid() != 0:
        raise UserError("chaos doctor --build-base needs root, for debootstrap: run it with sudo")
    if shutil.which("debootstrap") is None:
        raise UserError("chaos doctor --build-base needs debootstrap: apt-get install debootstrap")
    with tempfile.TemporaryDirectory(prefix="chaos-base-") as scratch:
        root = Path(scratch) / "root"
        _run(
            *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)),
            debian_mirror(),
        )
        for cached in (*root.glob("var/cache/apt/archives/*.deb"), *root.glob("var/lib/apt/lists/*_*")):
            cached.unlink()
        archive = Path(scratch) / "root.tar"
        _run("tar", "--numeric-owner", "-C", str(root), "-cf", str(archive), ".")
        repository, tag = BASE_NAME.split(":")
        with explained("import the base image"):
            client.api.import_image_from_file(
                str(archive), repository=repository, tag=tag, changes=['LABEL chaos.image="base"']
            )
    return BASE_NAME


def debian_mirror(sources: tuple[Path, ...] = SOURCES) -> str:
    """The first mirror of Debian itself, security updates apart, that apt uses here."""
    for place in sources:
        files = sorted(place.glob("*")) if place.is_dir() else [place]
        for file in files:
            if file.suffix not in (".list", ".sources") or not file.is_file():
                continue
            for line in file.read_text(errors="replace").splitlines():
                named = re.match(r"(?:deb\s+(?:\[[^]]*\]\s+)?|URIs:\s*)(https?://\S+/debian)/?(?:\s|$)", line)
                if named is not None:
                    return named[1]
    return MIRROR


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        last = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-4:])
        raise UserError(f"{command[0]} failed:\n{last}")
