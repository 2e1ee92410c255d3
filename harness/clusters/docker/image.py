"""The image of a node: base, Debian packages, Python packages, and the source as it stands here.

It is named by the digest of all of that, so that it is built once and a changed source makes another.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import faketime
from harness.clusters.docker import packages
from harness.clusters.docker.base import BASE_NAME
from harness.clusters.docker.engine import explained
from harness.clusters.docker.settings import DEFAULT_BASE
from harness.errors import UserError
from harness.run_id import LABEL as RUN
from harness.run_id import new_run_id
from harness.system import Foreign, System

REPOSITORY = "chaos-node"
LABEL = "chaos.image"
TOOLS = ("iptables", "iproute2")
LAST_BUILD_LINES = 6


def node_image(client: Any, system: System, config: Mapping[str, Any]) -> str:
    """The tag of the image, built if it is not there. Raises `UserError` where it cannot be."""
    found = _base(client, str(config["docker.base"]))
    python = _python(client, found)
    tops, wanted = packages.of_node(system)
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        found.attrs["Architecture"], found.attrs["Architecture"]
    )
    site = packages.unpacked(wanted, python=python, machine=machine)
    dockerfile = Path(__file__).with_name("Dockerfile")
    programs = sorted(set(system.programs.values())) if isinstance(system, Foreign) else []
    if faketime.needed(system, config):
        programs.append("libfaketime")
    debian = " ".join((*TOOLS, *programs))
    with tempfile.TemporaryDirectory(prefix="chaos-image-") as scratch:
        context = Path(scratch)
        source = packages.copy_source(["harness", "systems", *tops], context / "source")
        asked = repr((found.id, site.name, source, dockerfile.read_text(), debian))
        tag = f"{REPOSITORY}:{hashlib.blake2b(asked.encode(), digest_size=8).hexdigest()}"
        if _local(client, tag) is not None:
            return tag
        shutil.copytree(site, context / "site")
        shutil.copy(dockerfile, context / "Dockerfile")
        _build(client, context, tag, {"BASE": found.id, "PACKAGES": debian})
    return tag


def _build(client: Any, context: Path, tag: str, arguments: dict[str, str]) -> None:
    import docker

    try:
        with explained("build the node image"):
            client.images.build(
                path=str(context), tag=tag, buildargs=arguments, labels={LABEL: "node"}, rm=True, forcerm=True
            )
    except UserError as error:
        broken = error.__context__
        lines: list[str] = []
        if isinstance(broken, docker.errors.BuildError):
            for part in broken.build_log:
                lines += str(part.get("stream") or part.get("error") or "").splitlines()
        said = [line for line in lines if line.strip()][-LAST_BUILD_LINES:]
        raise UserError("\n".join([str(error), *(f"    {line}" for line in said)])) from None


def _base(client: Any, name: str) -> Any:
    """The image, local or pulled; in place of the default one, also what `chaos doctor --build-base` made."""
    import docker
    import requests

    local = _local(client, name) or (_local(client, BASE_NAME) if name == DEFAULT_BASE else None)
    if local is not None:
        return local
    try:
        repository, tag = docker.utils.parse_repository_tag(name)
        return client.images.pull(repository, tag or "latest")
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        said = getattr(error, "explanation", None) or str(error)
        raise UserError(
            f"base image {name} is not here and cannot be pulled ({' '.join(str(said).split())}): make one from this "
            "machine's Debian mirror with chaos doctor --build-base, or name a local one with --set docker.base=IMAGE"
        ) from None


def base_at_hand(client: Any, name: str = DEFAULT_BASE) -> tuple[str, bool, str]:
    """Whether the base image is here or can be pulled, as a line of `chaos doctor`."""
    import docker
    import requests

    what = f"the base image {name}"
    for local in (name, BASE_NAME):
        if _local(client, local) is not None:
            return (what if local == name else f"{what}, or {BASE_NAME} in its place", True, "")
    try:
        client.images.get_registry_data(name)
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        return (what, False, "it is not here and no registry has it: chaos doctor --build-base makes another")
    return (f"{what}, from its registry", True, "")


def poor_links(client: Any) -> list[tuple[str, bool, str]]:
    """By what links are made slow here, as a line of `chaos doctor`; none before the first image is there to ask."""
    images = client.images.list(filters={"label": f"{LABEL}=node"})
    if not images:
        return []
    script = "from harness.clusters import netem; print(netem.available())"
    with explained("ask whether the kernel has netem"):
        has_it = _said(client, images[0].id, script, cap_add=["NET_ADMIN"]) == "True"
    return [
        ("netem, for slow links" if has_it else "no netem in the kernel: proxies make links slow", True, "")
    ]


def _said(client: Any, image: str, script: str, **options: Any) -> str:
    """What a script of Python prints in a container of that image, with neither network nor trace."""
    asked = client.containers.create(
        image, ["python3", "-c", script], network_mode="none", labels={RUN: new_run_id()}, **options
    )
    try:
        asked.start()
        asked.wait()
        return str(asked.logs(stderr=False).decode().strip())
    finally:
        asked.remove(force=True)


def _local(client: Any, name: str) -> Any | None:
    import docker

    try:
        with explained("look for an image"):
            image: Any = client.images.get(name)
            return image
    except UserError as error:
        if isinstance(error.__context__, docker.errors.NotFound):
            return None
        raise


def _python(client: Any, base: Any) -> str:
    """Which Python the base has, as `3.12.4`; asked once for each image."""
    known: Path = packages.cache() / "python-of" / base.id.replace(":", "-")
    if known.is_file():
        return known.read_text()
    with explained(f"ask {base.id} for its Python (the base image must have python3)"):
        version = _said(client, base.id, "import sys; print('%d.%d.%d' % sys.version_info[:3])")
    if tuple(map(int, version.split("."))) < (3, 11):
        raise UserError(
            f"the base image has Python {version}: chaos needs 3.11 or later (--set docker.base=IMAGE)"
        )
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(version)
    return version
