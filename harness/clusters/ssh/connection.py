"""One host over SSH. The host's key is always checked, and only the key of the inventory is offered."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any

from harness.clusters.ssh.inventory import Host
from harness.errors import UserError

# Each failure is told once, as an error of ours.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class Connection:
    """Blocking, as paramiko is; for threads. Raises `UserError` for whatever the host or its inventory lacks."""

    def __init__(self, host: Host, timeout_s: float) -> None:
        self.host = host
        self._timeout_s = timeout_s
        self._client: Any = None
        self._files: Any = None

    def open(self) -> None:
        import paramiko

        host = self.host
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.load_host_keys(str(host.known_hosts_file))
        except OSError as error:
            raise UserError(
                f"host {host.address}: known_hosts {host.known_hosts}: {error.strerror or error}"
            ) from None
        try:
            client.connect(
                host.address,
                port=host.port,
                username=host.user,
                key_filename=str(host.key_file),
                allow_agent=False,
                look_for_keys=False,
                timeout=self._timeout_s,
                banner_timeout=self._timeout_s,
                auth_timeout=self._timeout_s,
            )
        except paramiko.BadHostKeyException:
            client.close()
            raise UserError(
                f"host {host.address}: its key is not the one in {host.known_hosts}: find out why before you "
                "trust it, then replace the line"
            ) from None
        except paramiko.PasswordRequiredException:
            client.close()
            raise UserError(
                f"host {host.address}: key {host.key} has a passphrase: give a key without"
            ) from None
        except paramiko.AuthenticationException:
            client.close()
            raise UserError(
                f"host {host.address}: it refuses key {host.key} of user {host.user}: add the public key to "
                "authorized_keys there"
            ) from None
        except paramiko.SSHException as error:
            client.close()
            if "not found in known_hosts" in str(error):
                raise UserError(
                    f"host {host.address}: its key is not in {host.known_hosts}: add it with ssh-keyscan "
                    f"-p {host.port} {host.address}, once you know that it is the right one"
                ) from None
            raise UserError(f"host {host.address}: no SSH connection: {error}") from None
        except (OSError, EOFError) as error:
            client.close()
            reason = "no answer" if isinstance(error, socket.timeout) else str(error) or type(error).__name__
            raise UserError(
                f"host {host.address}: port {host.port} cannot be reached as SSH: {reason}"
            ) from None
        self._client = client
        client.get_transport().set_keepalive(5)

    def run(self, command: str, *, limit_s: float = 60.0) -> str:
        """What it printed. Raises `UserError` with the end of what it complained of."""
        _, out, err = self._client.exec_command(command, timeout=limit_s)
        try:
            said, complained = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        except OSError:
            raise UserError(f"host {self.host.address}: no answer within {limit_s:g} s: {command}") from None
        code = out.channel.recv_exit_status()
        if code:
            last = (complained or said).strip().splitlines()[-1:] or [""]
            raise UserError(f"host {self.host.address}: {command} ended with {code}: {last[0]}")
        return str(said)

    def start(self, command: str) -> Any:
        """A channel to a program that goes on: its three streams."""
        channel = self._client.get_transport().open_session()
        channel.exec_command(command)
        return channel

    @property
    def files(self) -> Any:
        """SFTP."""
        if self._files is None:
            self._files = self._client.open_sftp()
        return self._files

    @property
    def own_address(self) -> str:
        """The harness's address as the connection has it."""
        return str(self._client.get_transport().sock.getsockname()[0])

    def close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()
