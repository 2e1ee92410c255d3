"""`offset-regression`: a committed offset that went back."""

from __future__ import annotations

from checkers.exactly_once.transfers import Transfers
from checkers.findings import Finding
from checkers.log.observations import Observations


def offset_regressions(seen: Observations, transfers: Transfers) -> list[Finding]:
    """A fetch that was asked after a commit had been acknowledged, and answered with less; no client of these
    workloads resets offsets on purpose. Commits of different processes do not run backward either:
    whoever takes over begins at the committed offset. One finding a fetch and partition."""
    commits = sorted(transfers.commits, key=lambda commit: commit.known)
    highest: dict[str, tuple[int, int]] = {}
    findings: list[Finding] = []
    position = 0
    for fetch in sorted(transfers.fetches, key=lambda fetch: fetch.asked):
        while position < len(commits) and commits[position].known < fetch.asked:
            commit = commits[position]
            for name, offset in commit.offsets.items():
                if name not in highest or offset > highest[name][0]:
                    highest[name] = (offset, commit.operation)
            position += 1
        for name, offset in fetch.offsets.items():
            committed = highest.get(name)
            if committed is not None and offset < committed[0]:
                findings.append(
                    Finding(
                        name="offset-regression",
                        partition=name,
                        ops=(*seen.indices(committed[1]), *seen.indices(fetch.operation)),
                        offset=offset,
                        detail={"committed": committed[0]},
                    )
                )
    return findings
