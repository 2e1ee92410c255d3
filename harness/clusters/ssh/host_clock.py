"""The clock of a host that the inventory calls disposable; part of the agent.

What the time truly is goes on in the kernel's monotonic clock, which nobody can set. Whatever keeps the host's clock
right is stopped while it is wrong, and started afterwards. A note beside the node holds what it takes to set it right, for
who has to clean up after an agent that was killed.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

NOTE = "true-time"
KEEPERS = ("chronyd", "chrony", "systemd-timesyncd", "ntpd", "ntpsec", "ntp")
"""Services; one may have two names."""
CLOSE_MS = 2.0
"""As near as a program that is started to set the clock comes to it."""
COMMAND_S = 10.0


class HostClock:
    """`root` is what commands of root begin with, `wall_ns` reads the clock."""

    def __init__(
        self, folder: Path, *, root: Sequence[str] = (), wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._note = folder / NOTE
        self._root = tuple(root)
        self._wall_ns = wall_ns
        self._true_ahead_ns: int | None = None
        """The true time less the monotonic clock; none while the host's clock is right."""
        self._stopped: list[str] = []
        self._offline = False
        self._offset_ms, self._rate, self._since_ns = 0.0, 1.0, 0

    def move(self, offset_ms: float, rate: float) -> float:
        """By how many milliseconds it is ahead then. No offset at rate 1 sets it right. Raises `OSError`."""
        if offset_ms == 0.0 and rate == 1.0:
            return self.restore()
        if self._true_ahead_ns is None:
            self._take_over()
        self._offset_ms, self._rate, self._since_ns = offset_ms, rate, time.monotonic_ns()
        self.step()
        return self._ahead_ms()

    @property
    def drifts(self) -> bool:
        """It has to be stepped again and again."""
        return self._true_ahead_ns is not None and self._rate != 1.0

    def step(self) -> None:
        """To where it has drifted by now. Raises `OSError`."""
        drifted_ms = (time.monotonic_ns() - self._since_ns) / 1e6 * (self._rate - 1.0)
        self._set(self._offset_ms + drifted_ms)

    def restore(self) -> float:
        """The true time, and whatever keeps it. How far it is off, in milliseconds. Raises `OSError`."""
        if self._true_ahead_ns is None:
            return 0.0
        try:
            self._set(0.0)
            ahead_ms = self._ahead_ms()
        finally:
            for service in self._stopped:
                self._run("systemctl", "start", service)
            if self._offline:
                self._run("chronyc", "online")
        self._true_ahead_ns = None
        self._stopped, self._offline = [], False
        self._note.unlink(missing_ok=True)
        return ahead_ms

    def _take_over(self) -> None:
        """Before the clock is touched: the note must be there when it is."""
        self._true_ahead_ns = self._wall_ns() - time.monotonic_ns()
        if shutil.which("systemctl"):
            self._stopped = [name for name in KEEPERS if self._run("systemctl", "is-active", "--quiet", name)]
        self._offline = (
            "chronyd" not in self._stopped and "chrony" not in self._stopped and self._chronyd_answers()
        )
        told = {"ahead_ns": self._true_ahead_ns, "services": self._stopped, "offline": self._offline}
        self._note.write_text(json.dumps(told))
        for service in self._stopped:
            self._run("systemctl", "stop", service)
        if self._offline:
            self._run("chronyc", "offline")

    def _chronyd_answers(self) -> bool:
        """One that no systemd has started can only be told to leave the clock alone."""
        return shutil.which("chronyc") is not None and self._run("chronyc", "tracking")

    def _ahead_ms(self) -> float:
        assert self._true_ahead_ns is not None
        return (self._wall_ns() - time.monotonic_ns() - self._true_ahead_ns) / 1e6

    def _set(self, ahead_ms: float) -> None:
        assert self._true_ahead_ns is not None
        late_ms = 0.0
        for _ in range(2):
            # Again, since the first time it took as long as it takes to start a program.
            wanted_ns = time.monotonic_ns() + self._true_ahead_ns + int((ahead_ms + late_ms) * 1e6)
            words = [*self._root, "date", "-u", "-s", f"@{wanted_ns / 1e9:.6f}"]
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=COMMAND_S)
            if done.returncode:
                raise OSError(f"the host's clock cannot be set: {done.stderr.strip()}")
            late_ms += ahead_ms - self._ahead_ms()
            if abs(late_ms) <= CLOSE_MS:
                return

    def _run(self, *words: str) -> bool:
        """Whether it worked."""
        command = [*self._root, *words]
        done = subprocess.run(command, capture_output=True, check=False, timeout=COMMAND_S)
        return done.returncode == 0


def restoring(note: str, root: Sequence[str], python: str) -> list[str]:
    """The commands of a shell that do what `HostClock.restore` does, where only its note is left."""
    told = json.loads(note)
    now = f"import time; print('%.6f' % (time.monotonic() + {int(told['ahead_ns'])} / 1e9))"
    commands = [f'{shlex.join((*root, "date", "-u", "-s"))} "@$({python} -c {shlex.quote(now)})"']
    commands += [shlex.join((*root, "systemctl", "start", service)) for service in told["services"]]
    if told["offline"]:
        commands.append(shlex.join((*root, "chronyc", "online")))
    return commands
