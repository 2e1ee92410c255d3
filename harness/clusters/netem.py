"""Poor links by the kernel's `netem`, where it has it: a tree of queues on the interface of the node's machine, one branch for each
address that packets are slow or lost on the way to.

What passes no branch is not touched. The tree is built anew at every change: packets that wait in it are lost then, as
on a link that is switched, and TCP sends them again.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

UNLIMITED = "100gbit"
PACKETS = 100_000
"""So many may wait: the delay must not become a loss."""


class Quality(NamedTuple):
    """Of the way to one address; all zeroes is a sound one."""

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    bandwidth_kbps: float = 0.0


SOUND = Quality()


def tree(interface: str, links: Mapping[str, Quality]) -> list[str]:
    """The lines for `tc -batch` that make the ways to these addresses as poor as that; to be run after the old
    tree is gone."""
    if not links:
        return []
    lines = [f"qdisc add dev {interface} root handle 1: htb default 0"]
    for number, (address, quality) in enumerate(links.items(), start=1):
        rate = f"{quality.bandwidth_kbps:g}kbit" if quality.bandwidth_kbps else UNLIMITED
        netem = [f"qdisc add dev {interface} parent 1:{number} handle {number + 1}: netem limit {PACKETS}"]
        if quality.latency_ms or quality.jitter_ms:
            # Drawn from [latency, latency + jitter], as everywhere else; netem takes the middle and the distance.
            middle_ms = quality.latency_ms + quality.jitter_ms / 2
            netem.append(f"delay {middle_ms:g}ms {quality.jitter_ms / 2:g}ms")
        if quality.loss:
            netem.append(f"loss {quality.loss * 100:g}%")
        lines += [
            f"class add dev {interface} parent 1: classid 1:{number} htb rate {rate}",
            " ".join(netem),
            f"filter add dev {interface} parent 1: protocol ip prio 1 u32 match ip dst {address}/32 flowid 1:{number}",
        ]
    return lines


def available(interface: str = "lo", *, root: Sequence[str] = ()) -> bool:
    """Whether this kernel has what the tree is made of. `root` is what commands of root begin with. An interface whose
    queues somebody has chosen is not tried."""
    lines = tree(interface, {"127.255.255.254": Quality(latency_ms=1)})
    try:
        if not is_default(interface, root=root):
            return False
        try:
            return _batch(lines, root) == ""
        finally:
            clear(interface, root=root)
    except OSError:
        return False


def is_default(interface: str, *, root: Sequence[str] = ()) -> bool:
    """Whether its queues are the kernel's own choice, which comes back by itself when the tree is gone: of all
    queues, only those have the handle 0."""
    shown = subprocess.run(
        [*root, _tc(), "qdisc", "show", "dev", interface], capture_output=True, text=True, check=False
    )
    handles = [line.split()[2] for line in shown.stdout.splitlines() if " root " in f"{line} "]
    return shown.returncode == 0 and handles == ["0:"]


def apply(interface: str, links: Mapping[str, Quality], *, root: Sequence[str] = ()) -> str:
    """What `tc` complains of; nothing where it worked."""
    clear(interface, root=root)
    return _batch(tree(interface, links), root) if links else ""


def clear(interface: str, *, root: Sequence[str] = ()) -> None:
    """Of one without a tree, too."""
    try:
        subprocess.run(
            [*root, _tc(), "qdisc", "del", "dev", interface, "root"], capture_output=True, check=False
        )
    except OSError:
        return


def _batch(lines: list[str], root: Sequence[str]) -> str:
    done = subprocess.run(
        [*root, _tc(), "-batch", "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip() or "tc failed" if done.returncode else ""


def _tc() -> str:
    """Who comes in over SSH often has no `sbin` on the path."""
    return shutil.which("tc") or shutil.which("tc", path="/usr/sbin:/sbin") or "tc"
