"""`python -m harness.sweep.worker ROOT`: runs the specs on standard input, a line of JSON each, and answers likewise."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from harness.campaign import line
from harness.execute import execute
from harness.spec import Spec


def main() -> None:
    root = Path(sys.argv[1])
    for asked in sys.stdin.buffer.read().splitlines():
        outcome = execute(msgspec.json.decode(asked, type=Spec), root=root)
        sys.stdout.buffer.write(msgspec.json.encode(line(outcome)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
