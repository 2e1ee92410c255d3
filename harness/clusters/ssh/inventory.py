"""The inventory: which hosts there are, and how to come in. A TOML file; what all hosts share stands on top.

user = "chaos"
key = "~/.ssh/id_ed25519"
known_hosts = "~/.ssh/known_hosts"

[[hosts]]
address = "10.0.0.11"

[[hosts]]
address = "10.0.0.12"
disposable = true
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from harness.errors import UserError


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One host. `folder` is private to chaos there, and made if need be; relative to the user's home."""

    address: str
    user: str
    key: str
    known_hosts: str = "~/.ssh/known_hosts"
    port: int = 22
    python: str = "python3"
    folder: str = ".cache/chaos-nodes"
    sudo: bool = False
    """Whether commands of root go through `sudo -n`; not needed where the user is root."""
    disposable: bool = False
    """Whether its own clock may be set, for programs that nothing else can show another time."""

    @property
    def key_file(self) -> Path:
        return Path(self.key).expanduser()

    @property
    def known_hosts_file(self) -> Path:
        return Path(self.known_hosts).expanduser()


def read_inventory(path: Path) -> tuple[Host, ...]:
    """Raises `UserError` for a file that is not there, is no TOML, or says too little or too much of a host."""
    try:
        told = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"no inventory {path}: write one (docs/how-to/run-on-your-hosts.md), or name it with "
            "--set ssh.inventory=FILE"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"inventory {path}: {error}") from None
    hosts = told.pop("hosts", None)
    if not isinstance(hosts, list) or not hosts:
        raise UserError(f"inventory {path}: it names no host: add a [[hosts]] table with an address")
    try:
        found = tuple(msgspec.convert({**told, **host}, Host) for host in hosts)
    except (TypeError, msgspec.ValidationError) as error:
        raise UserError(f"inventory {path}: {error}") from None
    addresses = [host.address for host in found]
    for address in addresses:
        if addresses.count(address) > 1:
            raise UserError(
                f"inventory {path}: host {address} stands there twice: one node runs on each host"
            )
    for host in found:
        if not host.key_file.is_file():
            raise UserError(f"inventory {path}: no key file {host.key} for host {host.address}")
    return found
