"""Asks a real Kafka: `python -m tests.conformance.record [THEME …]` writes the golden files anew."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator

from .apache_kafka import VERSION, apache_kafka
from .catalogue import THEMES, Theme, ask
from .session import Answer


def recorded(themes: Iterable[Theme]) -> Iterator[tuple[Theme, dict[str, Answer]]]:
    """What a real Kafka answers, with one cluster for every transaction version."""
    wanted = list(themes)
    for version in sorted({theme.transaction_version for theme in wanted}):
        with apache_kafka(transaction_version=version) as addresses:
            for theme in wanted:
                if theme.transaction_version == version:
                    yield theme, asyncio.run(ask(theme, addresses))


def write(theme: Theme, answers: dict[str, Answer]) -> None:
    content = {"kafka": VERSION, "transaction.version": theme.transaction_version, "answers": answers}
    theme.golden.write_text(_laid_out(content) + "\n")


def _laid_out(value: object, indent: str = "") -> str:
    """JSON with what fits on a line on one: an answer a line, mostly."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or len(indent) + len(line) <= 110 or not value:
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        entries = [f"{deeper}{json.dumps(key)}: {_laid_out(entry, deeper)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    entries = [f"{deeper}{_laid_out(entry, deeper)}" for entry in value]
    return "[\n" + ",\n".join(entries) + f"\n{indent}]"


def main(names: list[str]) -> None:
    for theme, answers in recorded(theme for theme in THEMES if not names or theme.name in names):
        write(theme, answers)
        print(f"{theme.golden.name}: {len(answers)} scripts")


if __name__ == "__main__":
    main(sys.argv[1:])
