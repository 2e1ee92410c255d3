"""What goes into the image of a node, and what makes another image of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.clusters.docker import packages
from harness.clusters.docker.base import MIRROR, debian_mirror
from harness.registry import load, names


def test_nodes_get_the_dependencies_of_their_system_and_not_those_of_judges() -> None:
    names = {line.split(">")[0].split("[")[0] for line in packages.requirements([], "broker")}
    assert {"msgspec", "kio", "crc32c"} <= names
    assert not names & packages.NOT_IN_NODES
    assert "redis" not in names
    assert any(line.startswith("redis") for line in packages.requirements([], "redis"))


@pytest.mark.parametrize("name", [n for n in names("systems") if not n.startswith("toy")])
def test_the_programs_of_nodes_import_nothing_that_is_left_out(name: str) -> None:
    words = load("systems", name).command()
    script = (
        f"import importlib, sys; sys.modules.update(dict.fromkeys({sorted(packages.NOT_IN_NODES)}));"
        f"importlib.import_module({words[words.index('-m') + 1] + '.__main__'!r})"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_a_package_that_only_the_python_of_the_image_needs_is_missed(tmp_path: Path) -> None:
    def installed(name: str, *needs: str) -> None:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        lines = [f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {need}" for need in needs)]
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))

    installed(
        "alpha",
        'Timely>=4; python_full_version < "3.11.3"',
        'extras; extra == "more"',
        "Beta_Two",
        'old; python_version < "3"',
    )
    installed("beta-two")
    assert packages.missing_below(tmp_path, "3.11.2") == ("Timely>=4",)
    assert packages.missing_below(tmp_path, "3.12.1") == ()


def test_a_changed_source_has_another_digest(tmp_path: Path) -> None:
    first = packages.copy_source(["harness"], tmp_path / "a")
    assert packages.copy_source(["harness"], tmp_path / "b") == first
    assert not list(tmp_path.rglob("*.pyc"))
    assert packages.copy_source(["harness", "systems"], tmp_path / "c") != first


def test_the_mirror_is_the_one_that_apt_uses(tmp_path: Path) -> None:
    (tmp_path / "other.list").write_text("deb [signed-by=/x.gpg] https://packages.example.org/apt main\n")
    assert debian_mirror((tmp_path,)) == MIRROR
    (tmp_path / "security.sources").write_text(
        "Types: deb\nURIs: http://mirror.example.org/debian-security\n"
    )
    assert debian_mirror((tmp_path,)) == MIRROR
    (tmp_path / "test.sources").write_text(
        "# A comment\nTypes: deb\nURIs: http://mirror.example.org/debian/\n"
    )
    assert debian_mirror((tmp_path,)) == "http://mirror.example.org/debian"
    old = tmp_path / "old.list"
    old.write_text("deb [arch=amd64] https://old.example.org/debian bookworm main\n")
    assert debian_mirror((old,)) == MIRROR.replace("http://deb.debian.org", "https://old.example.org")
