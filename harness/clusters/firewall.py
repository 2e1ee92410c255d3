"""Rules of this machine's (or network namespace's) firewall that a run made: tagged with its name, only ever ours
removed, never a flush."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

Rule = tuple[str, ...]
REJECTED = ("-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")


class FirewallError(Exception):
    """A rule that could not be made or removed; the text is for people."""


class Firewall:
    """What comes in from other addresses. `root` is what commands of root begin with: nothing, or `sudo -n`."""

    def __init__(self, run: str, *, root: Sequence[str] = ()) -> None:
        self._root = tuple(root)
        self._comment = ("-m", "comment", "--comment", f"chaos:{run}")
        self._cut: dict[str, list[Rule]] = {}
        self._iptables = ""

    def open(self) -> None:
        """Finds the iptables that works here: the kernel may have only one of the two kinds of tables."""
        told = "none is installed: apt-get install iptables"
        for name in ("iptables", "iptables-nft", "iptables-legacy"):
            found = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
            if found is None:
                continue
            tried = subprocess.run(
                [*self._root, found, "-w", "-S", "INPUT"], capture_output=True, text=True, check=False
            )
            if tried.returncode == 0:
                self._iptables = found
                return
            told = tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else "it fails"
        raise FirewallError(f"no iptables works: {told}")

    def cut(self, source: str, how: str) -> None:
        """Nothing from that address comes in any more. What was in force for it before goes."""
        before = self._cut.pop(source, [])
        rules: list[Rule] = [("-s", source, *self._comment, "-j", "DROP")]
        if how == "reject":
            rules.insert(0, ("-s", source, *self._comment, *REJECTED))
        # The later of two that are inserted stands first.
        for rule in reversed(rules):
            self._do("-I", "INPUT", *rule)
        self._cut[source] = rules
        self._delete(before)

    def heal(self, source: str) -> None:
        self._delete(self._cut.pop(source, []))

    def redirect(self, address: str, port: int, to_port: int, *, group: int) -> None:
        """What programs of that group dial there goes to a port of this machine instead."""
        rule = ("-d", address, "-p", "tcp", "--dport", str(port), "-m", "owner", "--gid-owner", str(group))
        self._do(
            "-t", "nat", "-A", "OUTPUT", *rule, *self._comment, "-j", "REDIRECT", "--to-ports", str(to_port)
        )

    def heal_all(self) -> None:
        for source in list(self._cut):
            self.heal(source)

    def _delete(self, rules: Sequence[Rule]) -> None:
        for rule in rules:
            self._do("-D", "INPUT", *rule)

    def _do(self, *words: str) -> None:
        if not self._iptables:
            self.open()
        done = subprocess.run(
            [*self._root, self._iptables, "-w", *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise FirewallError(f"iptables {' '.join(words)}: {done.stderr.strip()}")
