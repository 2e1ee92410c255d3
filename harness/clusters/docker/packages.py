"""The Python packages of a node, made outside the image so that it needs neither pip nor a network.

Wheels are fetched into a wheelhouse and unpacked into a folder, for the Python and the processor of the base image;
both are kept between runs, under the digest of what was asked for.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UserError
from harness.system import System

DISTRIBUTION = "chaos-harness"
NOT_IN_NODES = frozenset({"numpy", "scipy", "jinja2", "rich", "click"})
"""What only the harness's side of a run needs: drives, judges and reports."""
MANYLINUX = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def cache() -> Path:
    """Where what is expensive to make is kept."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "chaos"


def of_node(system: System) -> tuple[list[str], tuple[str, ...]]:
    """The top-level packages that a node of this system imports from here, and what it needs from outside."""
    words = list(system.command())
    modules = [type(system).__module__]
    if "-m" in words:
        modules.append(words[words.index("-m") + 1])
    tops = list(dict.fromkeys(module.partition(".")[0] for module in modules))
    distributions = importlib.metadata.packages_distributions()
    # The extra with the system's name: `redis` for a class in `systems.redis.system`.
    parts = modules[0].split(".")
    extra = parts[1] if len(parts) > 1 else parts[0]
    return tops, requirements([d for top in tops for d in distributions.get(top, [])], extra)


def requirements(distributions: Iterable[str], extra: str) -> tuple[str, ...]:
    """What a node needs from outside: the dependencies of chaos and of the package that the system comes from, and
    those of the extra with the system's name."""
    found: dict[str, None] = {}
    for name in (DISTRIBUTION, *distributions):
        try:
            declared = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in declared:
            bare = re.match(r"[A-Za-z0-9._-]+", line)
            optional = re.search(r"""extra == ["']([^"']+)["']""", line)
            if bare is None or (optional is not None and optional[1] != extra):
                continue
            if bare[0].lower() not in NOT_IN_NODES | {DISTRIBUTION}:
                found[line if optional is None else line.partition(";")[0].strip()] = None
    return tuple(sorted(found))


def unpacked(wanted: tuple[str, ...], *, python: str, machine: str) -> Path:
    """A folder to be put on `PYTHONPATH`, with these requirements for Python `3.12.4` on `x86_64`. Raises `UserError`
    where they cannot be had."""
    pinned = tuple(_pinned(line) for line in wanted)
    digest = hashlib.blake2b(repr((pinned, python, machine)).encode(), digest_size=8).hexdigest()
    place = cache() / "site" / digest
    if place.is_dir():
        return place
    wheelhouse = cache() / "wheelhouse"
    wheelhouse.mkdir(parents=True, exist_ok=True)
    minor = ".".join(python.split(".")[:2])
    target = [*("--python-version", minor, "--implementation", "cp", "--only-binary=:all:")]
    target += [word for tag in MANYLINUX for word in ("--platform", f"{tag}_{machine}")]
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        made = Path(scratch) / "site"
        where = ("--no-index", "--find-links", str(wheelhouse))
        missing = pinned
        while missing:
            _pip("download", "--dest", str(wheelhouse), *target, *missing)
            _pip("install", "--no-compile", "--upgrade", "--target", str(made), *where, *target, *missing)
            missing = missing_below(made, python)
        try:
            made.rename(place)
        except OSError:
            # Another run was faster.
            if not place.is_dir():
                raise
    return place


def missing_below(site: Path, python: str) -> tuple[str, ...]:
    """What the packages there need on that Python and was left out: pip asks of the Python that it runs on."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    target = {"python_version": ".".join(python.split(".")[:2]), "python_full_version": python, "extra": ""}
    found = list(importlib.metadata.distributions(path=[str(site)]))
    present = {canonicalize_name(distribution.metadata["Name"]) for distribution in found}
    needed = [Requirement(line) for distribution in found for line in distribution.requires or []]
    return tuple(
        sorted(
            {
                f"{need.name}{need.specifier}"
                for need in needed
                if canonicalize_name(need.name) not in present
                and (need.marker is None or need.marker.evaluate(target))
            }
        )
    )


def _pinned(line: str) -> str:
    """The version that is installed here: simulation and containers run the same code."""
    name = re.match(r"[A-Za-z0-9._-]+", line)
    assert name is not None
    marker = line.partition(";")[2]
    try:
        version = importlib.metadata.version(name[0])
    except importlib.metadata.PackageNotFoundError:
        return line
    return f"{name[0]}=={version}" + (f"; {marker.strip()}" if marker else "")


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.startswith("ERROR")] or [
            done.stdout.strip()
        ]
        raise UserError(f"the packages of the node image could not be had (pip {words[0]}): {said[-1]}")


def copy_source(packages: Iterable[str], target: Path) -> str:
    """Copies the importable packages or modules below `target`; returns the digest of what was copied."""
    from importlib.util import find_spec

    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(set(packages)):
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise UserError(f"package {name}, which the nodes run, cannot be found: install it here first")
        origin = Path(spec.origin)
        if origin.name == "__init__.py":
            skipped = shutil.ignore_patterns("__pycache__", "*.pyc", "vendor")
            shutil.copytree(origin.parent, target / name, ignore=skipped)
        else:
            shutil.copy(origin, target / origin.name)
    for file in sorted(target.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(target).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
