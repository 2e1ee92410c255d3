"""The workflows in the docs are what their services take, by the schemas that these publish."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "gate-changes.md"


@pytest.mark.parametrize(
    ("title", "schema"), [("GitHub Actions", "github-workflows"), ("GitLab", "gitlab-ci")]
)
def test_a_workflow_of_the_docs_is_one(title: str, schema: str, tmp_path: Path) -> None:
    section = PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    [text] = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    assert check(text, schema, tmp_path).returncode == 0, check(text, schema, tmp_path).stdout
    assert (
        check(text.replace("script:", "skript:").replace("runs-on:", "run-on:"), schema, tmp_path).returncode
        == 1
    )


def check(text: str, schema: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "workflow.yml"
    path.write_text(text)
    words = ["-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
