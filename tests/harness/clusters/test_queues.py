"""The ssh agent's way to poor links, with a `tc` and an `ip` that only write down what they are asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.clusters.ssh.queues import NOTE, Queues

SLOW = {"latency_ms": 100.0, "jitter_ms": 0.0, "loss": 0.0, "bandwidth_kbps": 0.0}
SOUND = dict.fromkeys(SLOW, 0.0)


class Kernel:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.handle("0:")
        _program(folder / "ip", "print('10.0.0.9 dev eth7 src 10.0.0.1 uid 0')")
        _program(
            folder / "tc",
            "folder = pathlib.Path(sys.argv[0]).parent\n"
            "said = sys.stdin.read() if '-batch' in sys.argv else ''\n"
            "with (folder / 'asked').open('a') as asked: asked.write(' '.join(sys.argv[1:]) + '\\n' + said)\n"
            "if 'show' in sys.argv: print('qdisc fq_codel', (folder / 'handle').read_text(), 'root refcnt 2')\n"
            "if said and (folder / 'none').exists(): sys.exit('Error: Specified qdisc kind is unknown.')",
        )

    def handle(self, handle: str) -> None:
        (self._folder / "handle").write_text(handle)

    def without_netem(self) -> None:
        (self._folder / "none").touch()

    def asked(self) -> list[str]:
        """Since the last time."""
        path = self._folder / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!{sys.executable}\nimport pathlib, sys\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return Kernel(programs)


def test_the_way_to_a_host_is_slow_until_it_is_sound(kernel: Kernel, tmp_path: Path) -> None:
    queues = Queues(tmp_path)
    assert queues.open(["10.0.0.9", "10.0.0.8"]) == ""
    kernel.asked()
    queues.degrade("10.0.0.9", SLOW)
    asked = kernel.asked()
    assert "qdisc add dev eth7 parent 1:1 handle 2: netem limit 100000 delay 100ms 0ms" in asked
    assert (tmp_path / NOTE).read_text() == "eth7"
    queues.degrade("10.0.0.9", SOUND)
    assert kernel.asked() == ["qdisc del dev eth7 root"]
    assert not (tmp_path / NOTE).exists()


def test_the_end_undoes_it_and_touches_nothing_else(kernel: Kernel, tmp_path: Path) -> None:
    queues = Queues(tmp_path)
    queues.open(["10.0.0.9"])
    kernel.asked()
    queues.close()
    assert kernel.asked() == []
    queues.degrade("10.0.0.9", SLOW)
    kernel.asked()
    queues.close()
    assert kernel.asked() == ["qdisc del dev eth7 root"]


def test_queues_that_somebody_has_chosen_are_left_alone(kernel: Kernel, tmp_path: Path) -> None:
    kernel.handle("8001:")
    assert "eth7 has queues of its own" in Queues(tmp_path).open(["10.0.0.9"])
    assert all("show" in line for line in kernel.asked())


def test_a_kernel_without_netem_says_so(kernel: Kernel, tmp_path: Path) -> None:
    kernel.without_netem()
    assert Queues(tmp_path).open(["10.0.0.9"]) == "the kernel has no netem"
    assert "qdisc del dev lo root" in kernel.asked()


def test_a_host_without_tc_says_so(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.clusters.netem._tc", lambda: str(tmp_path / "nowhere"))
    assert Queues(tmp_path).open(["10.0.0.9"])
