"""The settings of backend `ssh`."""

from __future__ import annotations

from harness.settings import Setting

DEFAULT_INVENTORY = "chaos-hosts.toml"

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="ssh.inventory",
        default=DEFAULT_INVENTORY,
        doc="On ssh: the file that names the hosts (docs/how-to/run-on-your-hosts.md)",
        scope="harness",
    ),
    Setting(
        name="ssh.connect.timeout.ms",
        default=10_000,
        minimum=1,
        doc="On ssh: how long a host may take to answer",
        scope="harness",
    ),
)
