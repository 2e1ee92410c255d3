"""What a host's kernel does to packets on their way to the other hosts, where it has `netem`; part of the agent.

The host's own traffic with anybody else is not touched, and neither is an interface whose queues somebody has chosen.
While a tree is in force, a note beside the node says on which interface, for who has to clean up after an agent that was
killed.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.clusters import netem
from harness.clusters.netem import SOUND, Quality

NOTE = "queues"


class Queues:
    """`root` is what commands of root begin with."""

    def __init__(self, folder: Path, *, root: Sequence[str] = ()) -> None:
        self._note = folder / NOTE
        self._root = tuple(root)
        self._interface = ""
        self._quality: dict[str, Quality] = {}

    def open(self, peers: Sequence[str]) -> str:
        """Why the kernel cannot make the ways to these hosts poor; empty where it can."""
        try:
            found = list(dict.fromkeys(_interface_to(peer) for peer in peers))
            if len(found) != 1:
                return f"the other hosts are not behind one interface ({', '.join(found)})"
            if not netem.is_default(found[0], root=self._root):
                return f"{found[0]} has queues of its own, or tc is not there"
        except OSError as error:
            return f"no way to the other hosts is known: {error}"
        if not netem.available(root=self._root):
            return "the kernel has no netem"
        self._interface = found[0]
        return ""

    def degrade(self, peer: str, quality: Mapping[str, float]) -> None:
        """All that goes there. Raises `OSError` where `tc` refuses."""
        self._quality[socket.gethostbyname(peer)] = Quality(**quality)
        poor = {address: each for address, each in self._quality.items() if each != SOUND}
        if not poor:
            self.close()
            return
        self._note.write_text(self._interface)
        complaint = netem.apply(self._interface, poor, root=self._root)
        if complaint:
            raise OSError(f"tc: {complaint}")

    def close(self) -> None:
        """As if it had never been."""
        self._quality.clear()
        if self._note.exists():
            netem.clear(self._note.read_text(), root=self._root)
            self._note.unlink()


def _interface_to(peer: str) -> str:
    """Raises `OSError`. Of IPv4, as the tree is."""
    asked = ["ip", "-o", "route", "get", socket.gethostbyname(peer)]
    words = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    if "dev" not in words:
        raise OSError(f"no route to {peer}")
    return words[words.index("dev") + 1]
