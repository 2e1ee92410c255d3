"""A shrunk failure as a pytest file: it fails as long as the mistake is there, and needs nothing else."""

from __future__ import annotations

import re
import textwrap

import msgspec

from harness.spec import Spec

_TEMPLATE = '''"""{anomaly} in workload {workload}.

{story}

Written by `chaos shrink`: {command}
It fails as long as the mistake is there. The plug-in of chaos-harness gives it the fixture `chaos`.
"""

from typing import Any

SPEC = r"""
{spec}
"""


def test_{name}(chaos: Any) -> None:
    chaos.replay(SPEC)
'''


def file_name(anomaly: str, spec: Spec) -> str:
    return f"test_{_name(anomaly, spec)}.py"


def test_file(anomaly: str, summary: str, spec: Spec, command: str) -> str:
    """`spec` with its schedule; `summary` is the anomaly's sentence."""
    written = msgspec.structs.replace(spec, config={})
    story = "\n".join(textwrap.wrap(summary.replace("\\", "/").replace('"""', "'"), 108))
    return _TEMPLATE.format(
        anomaly=anomaly,
        workload=spec.workload,
        story=story,
        command=command,
        spec=msgspec.json.format(msgspec.json.encode(written), indent=2).decode(),
        name=_name(anomaly, spec),
    )


def _name(anomaly: str, spec: Spec) -> str:
    return re.sub(r"\W+", "_", f"{anomaly} in {spec.workload} of {spec.system}").lower()
