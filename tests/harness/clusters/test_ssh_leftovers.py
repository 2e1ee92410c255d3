"""What is found on a host of which an agent that was killed has left notes. Nothing is changed here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.clusters.ssh.leftovers import LOOK, undoing

CLOCK = '{"ahead_ns": 5000000000, "services": ["chronyd"], "offline": false}'


def test_the_notes_of_a_dead_agent_are_found_and_say_what_to_do(tmp_path: Path) -> None:
    node = tmp_path / "runs" / "run-1" / "b1"
    node.mkdir(parents=True)
    (node / "queues").write_text("eth7")
    (node / "true-time").write_text(CLOCK)
    (node / "node.log").write_text("not a note")
    looked = subprocess.run([sys.executable, "-c", LOOK, str(tmp_path)], capture_output=True, check=True)
    notes = {run: notes for run, _, _, notes in json.loads(looked.stdout)}["run-1"]
    assert notes == {"queues": "eth7", "true-time": CLOCK}
    queues, clock, service = undoing(notes, ("sudo", "-n"), "python3")
    assert queues == "sudo -n tc qdisc del dev eth7 root || true"
    assert clock.startswith('sudo -n date -u -s "@$(python3 -c ')
    assert service == "sudo -n systemctl start chronyd"
