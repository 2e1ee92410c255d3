"""What is predicted for a cell, and whether what was found agrees.

-                                    nothing is ever found
must lost-write                      at least one run shows it
must lost-write/vanished-read        at least one run shows one of them
may duplicate                        runs may show it
must lost-write; may duplicate       both parts hold; whatever is not named must never be found
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from harness.errors import UserError, unknown_name

NOTHING = "-"


class Prediction(msgspec.Struct, frozen=True):
    """`must`: of each group at least one name; `may`: names that surprise nobody."""

    must: tuple[tuple[str, ...], ...] = ()
    may: tuple[str, ...] = ()

    @property
    def named(self) -> frozenset[str]:
        return frozenset(self.may).union(*self.must)


def parse(text: str, known: Iterable[str]) -> Prediction:
    """Raises `UserError` for another grammar, or for an anomaly that no checker names."""
    names = frozenset(known)
    must: list[tuple[str, ...]] = []
    may: list[str] = []
    for part in text.split(";"):
        word, _, rest = part.strip().partition(" ")
        given = tuple(name.strip() for name in rest.split("/"))
        if part.strip() == NOTHING:
            continue
        if word not in ("must", "may") or not all(given):
            raise UserError(f"prediction '{text}': expected '-', 'must NAME', 'may NAME', joined by ';'")
        for name in given:
            if name not in names:
                raise unknown_name("anomaly", name, names)
        if word == "must":
            must.append(given)
        else:
            may += given
    return Prediction(tuple(must), tuple(may))


def disagreements(
    prediction: Prediction,
    found: Iterable[str],
    runs: int,
    corollaries: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Sentences; empty where it agrees. `corollaries`: what is no surprise where something else was predicted
    and found (an offset that an acknowledged record has lost is given to another one)."""
    names = frozenset(found)
    follow = {
        name
        for cause, names_of in (corollaries or {}).items()
        if cause in names & prediction.named
        for name in names_of
    }
    told = [
        f"{'/'.join(group)} was predicted and not found in {runs} runs"
        for group in prediction.must
        if not names.intersection(group)
    ]
    return told + [
        f"{name} was found and not predicted" for name in sorted(names - prediction.named - follow)
    ]
