"""Profiles: named sets of a system's settings, each with a guarantee of its own (`--profile NAME`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import UserError, unknown_name
from harness.settings import Value


def profiles_of(system: Any) -> Mapping[str, Mapping[str, Value]]:
    """Those that the system lists as `profiles`; none where it lists nothing."""
    known: Mapping[str, Mapping[str, Value]] = getattr(system, "profiles", {})
    return known


def with_profile(profile: str, given: Mapping[str, Any], name: str, system: Any) -> dict[str, Any]:
    """The profile's settings, and over them the given ones. Raises `UserError` for a profile that system `name` does
    not have; "" is no profile."""
    if not profile:
        return dict(given)
    known = profiles_of(system)
    if not known:
        raise UserError(f"--profile {profile}: system '{name}' has no profiles; give its settings with --set")
    if profile not in known:
        raise unknown_name(f"profile of system '{name}'", profile, known)
    return {**known[profile], **given}
