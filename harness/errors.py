"""The one exception family for mistakes of the user or of the environment.

Everything else that is raised is a bug of chaos and may crash loudly.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

FEW = 25
"""More names than this are no help to somebody who meant another one."""


class UserError(Exception):
    """Bad input or a missing piece of the environment: one clear line, exit code 2, no traceback.

    The message says what was given, what was expected, and what to do.
    """


def unknown_name(kind: str, given: str, known: Iterable[str]) -> UserError:
    """A `UserError` for a name that does not exist, with the nearest one that does, and all of them where they are
    few or none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else ""
    every = f"known: {', '.join(names)}" if not near or len(names) <= FEW else ""
    return UserError(f"unknown {kind} '{given}': {' '.join(filter(None, (hint, every)))}")
