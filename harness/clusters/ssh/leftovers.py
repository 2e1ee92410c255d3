"""What runs left on the hosts of an inventory: folders, processes and firewall rules that carry a run's name, and the
queues and the clock of a host, of which a note in the run's folder tells.

An agent undoes everything by itself when its harness is gone. What is found here was left by an agent that was killed,
or is the folder with the logs that nobody fetched. A run whose agent lives is left alone, whoever its harness is.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence

from harness.clusters.ssh.connection import Connection
from harness.clusters.ssh.host_clock import NOTE as TRUE_TIME
from harness.clusters.ssh.host_clock import restoring
from harness.clusters.ssh.inventory import Host
from harness.clusters.ssh.queues import NOTE as QUEUES
from harness.errors import UserError
from harness.leftovers import RULE, Leftover
from harness.run_id import VARIABLE

TIMEOUT_S = 5.0
AGENT = "harness.clusters.ssh.agent"
LOOK = f"""
import glob, json, os, re, subprocess, sys
runs, alive, pids = {{}}, {{}}, {{}}
for path in glob.glob(os.path.join(sys.argv[1], "runs", "*")):
    runs[os.path.basename(path)] = None
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        found = re.search(rb"(?:^|\\0){VARIABLE}=([^\\0]+)", open(path, "rb").read())
        command = open(path.replace("environ", "cmdline"), "rb").read()
    except OSError:
        continue
    if found:
        run = found[1].decode()
        if b"{AGENT}" in command:
            alive[run] = None
        # A process of the run, or the harness's own on a machine that is also a host.
        if b"--environment" in command:
            pids.setdefault(run, []).append(int(path.split("/")[2]))
rules = {{}}
for tool in ("/usr/sbin/iptables", "/sbin/iptables"):
    if os.path.exists(tool):
        said = subprocess.run([*sys.argv[2:], tool, "-w", "-S", "INPUT"], capture_output=True, text=True).stdout
        for line in said.splitlines():
            named = re.search(r"{RULE.pattern}", line)
            if named and line.startswith("-A "):
                rules.setdefault(named[1], []).append(line)
        break
for run in [*pids, *rules]:
    runs[run] = None
notes = {{}}
for path in glob.glob(os.path.join(sys.argv[1], "runs", "*", "*", "*")):
    *_, run, node, name = path.split("/")
    if name in ("{QUEUES}", "{TRUE_TIME}"):
        notes.setdefault(run, {{}})[name] = open(path).read()
print(json.dumps([[r, pids.get(r, []), rules.get(r, []), notes.get(r, {{}})] for r in sorted(runs) if r not in alive]))
"""


def found(hosts: Sequence[Host]) -> list[Leftover]:
    """On all hosts that can be reached; the others keep theirs."""
    leftovers: list[Leftover] = []
    for host in hosts:
        connection = Connection(host, TIMEOUT_S)
        try:
            connection.open()
            leftovers += _on(connection)
        except UserError:
            continue
        finally:
            connection.close()
    return leftovers


def _on(connection: Connection) -> list[Leftover]:
    host = connection.host
    root = ("sudo", "-n") if host.sudo else ()
    look = (host.python, "-c", LOOK)
    home = connection.run(f"mkdir -p {host.folder} && cd {host.folder} && pwd").strip()
    told = json.loads(connection.run(shlex.join((*look, home, *root))))
    leftovers = []
    for run, pids, rules, notes in told:
        commands = [f"kill -9 {pid} 2>/dev/null || true" for pid in pids]
        commands += [shlex.join((*root, "iptables", "-w", "-D", *shlex.split(rule)[1:])) for rule in rules]
        commands += undoing(notes, root, host.python)
        commands.append(f"rm -rf {shlex.quote(f'{home}/runs/{run}')}")
        what = (
            f"on host {host.address}: folder of the run, {len(pids)} processes, {len(rules)} firewall rules"
        )
        leftovers.append(Leftover(what, run, _doing(host, commands)))
    return leftovers


def undoing(notes: Mapping[str, str], root: Sequence[str], python: str) -> list[str]:
    """What takes back the queues and the clock of a host whose agent has left these notes."""
    commands = []
    if QUEUES in notes:
        commands.append(shlex.join((*root, "tc", "qdisc", "del", "dev", notes[QUEUES], "root")) + " || true")
    if TRUE_TIME in notes:
        commands += restoring(notes[TRUE_TIME], root, python)
    return commands


def _doing(host: Host, commands: Sequence[str]) -> Callable[[], None]:
    def do() -> None:
        connection = Connection(host, TIMEOUT_S)
        try:
            connection.open()
            for command in commands:
                connection.run(f"PATH=$PATH:/usr/sbin:/sbin; {command}")
        finally:
            connection.close()

    return do
