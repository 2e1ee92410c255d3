"""Hosts for backend `ssh` on this machine: a network namespace each, on a bridge, with a real `sshd` in it.

As a program, it makes some and keeps them until its input ends: `python ssh_hosts.py COUNT FOLDER`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness.run_id import VARIABLE, new_run_id, token

SSHD = "/usr/sbin/sshd"
NEEDED = {SSHD: "openssh-server", "ip": "iproute2", "iptables": "iptables", "ssh-keygen": "openssh-client"}


def what_is_missing() -> str:
    """Empty where hosts can be made here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    return f"apt-get install {' '.join(missing)}" if missing else ""


class Hosts:
    """`inventory` is the file to give to chaos."""

    def __init__(self, count: int, folder: Path) -> None:
        self.folder = folder
        self.known_hosts = folder / "known_hosts"
        self.key = folder / "user-key"
        self.inventory = folder / "chaos-hosts.toml"
        self._run = new_run_id()
        self._bridge = f"ch{token(self._run)}"
        # Two sets of hosts at once hardly ever draw the same.
        self.network = f"10.231.{int(token(self._run), 16) % 250 + 1}"
        self.addresses = [f"{self.network}.{11 + number}" for number in range(count)]
        self._daemons: list[subprocess.Popen[bytes]] = []

    def make(self) -> None:
        _keygen(self.key)
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "address", "add", f"{self.network}.1/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        # A Docker engine on this machine has everything dropped that is forwarded, on bridges too.
        _run("iptables", "-w", "-I", *self._forwarding())
        for number in range(len(self.addresses)):
            self._make_host(number)
        self.write_inventory()
        for address in self.addresses:
            _wait_for(address)

    def _make_host(self, number: int) -> None:
        address, space = self.addresses[number], self.namespace(number)
        outside, inside = f"{self._bridge}-{number}"[-15:], "eth0"
        _run("ip", "netns", "add", space)
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", space)
        _run("ip", "link", "set", outside, "master", self._bridge, "up")
        for words in (
            ("address", "add", f"{address}/24", "dev", inside),
            ("link", "set", inside, "up"),
            ("link", "set", "lo", "up"),
        ):
            _run("ip", "-n", space, *words)
        place = self.folder / f"host-{number}"
        place.mkdir()
        host_key = place / "host-key"
        _keygen(host_key)
        public = host_key.with_suffix(".pub").read_text().split()
        with self.known_hosts.open("a") as known:
            known.write(f"{address} {public[0]} {public[1]}\n")
        (place / "sshd_config").write_text(
            f"ListenAddress {address}\nHostKey {host_key}\nPidFile {place}/sshd.pid\nStrictModes no\n"
            f"AuthorizedKeysFile {self.key}.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nUseDNS no\nUsePAM no\n"
            "MaxStartups 100\n"
        )
        with (place / "sshd.log").open("wb") as log:
            self._daemons.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", space, SSHD, "-D", "-e", "-f", str(place / "sshd_config")],
                    stdin=subprocess.DEVNULL,
                    stderr=log,
                    env={**os.environ, VARIABLE: self._run},
                )
            )

    def _forwarding(self) -> tuple[str, ...]:
        comment = ("-m", "comment", "--comment", f"chaos:{self._run}")
        return ("FORWARD", "-i", self._bridge, "-o", self._bridge, *comment, "-j", "ACCEPT")

    def namespace(self, number: int) -> str:
        return f"chaos.{self._run}.h{number}"

    def write_inventory(self, **changed: str) -> Path:
        """With other words for what all hosts share."""
        common = {
            "user": "root",
            "key": str(self.key),
            "known_hosts": str(self.known_hosts),
            # Not the one with our packages: what a node imports must have been brought there.
            "python": str(Path(sys.base_prefix) / "bin" / "python3"),
        } | changed
        lines = [f'{name} = "{value}"' for name, value in common.items()]
        for number, address in enumerate(self.addresses):
            lines += [
                "",
                "[[hosts]]",
                f'address = "{address}"',
                f'folder = "{self.folder}/host-{number}/chaos"',
            ]
        self.inventory.write_text("\n".join(lines) + "\n")
        return self.inventory

    def remove(self) -> None:
        for daemon in self._daemons:
            daemon.terminate()
        for daemon in self._daemons:
            daemon.wait(10)
        for number in range(len(self.addresses)):
            subprocess.run(
                ["ip", "netns", "delete", self.namespace(number)], check=False, capture_output=True
            )
        for words in (("ip", "link", "delete", self._bridge), ("iptables", "-w", "-D", *self._forwarding())):
            subprocess.run(words, check=False, capture_output=True)


@contextlib.contextmanager
def ssh_hosts(count: int, folder: Path) -> Iterator[Hosts]:
    Path("/run/sshd").mkdir(exist_ok=True)
    hosts = Hosts(count, folder)
    try:
        hosts.make()
        yield hosts
    finally:
        hosts.remove()


def _keygen(path: Path) -> None:
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((address, 22), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"no sshd at {address}"
            time.sleep(0.05)


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True)
    with ssh_hosts(int(sys.argv[1]), place) as made:
        print(made.inventory, flush=True)
        sys.stdin.read()
