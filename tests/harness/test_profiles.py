"""Profiles, where a run is planned and where its command is told."""

from __future__ import annotations

import pytest

from harness import repro
from harness.errors import UserError
from harness.plan import resolve
from harness.profiles import profiles_of, with_profile
from harness.settings import resolve as resolve_settings
from harness.spec import Spec
from systems.quorum.settings import PROFILES, SETTINGS
from systems.quorum.system import QuorumSystem

RUN = Spec(system="quorum", workload="register", nodes=5)


def planned(profile: str, **settings: object) -> Spec:
    given = {name.replace("_", "."): value for name, value in settings.items()}
    return resolve(Spec(system="quorum", workload="register", nodes=5, profile=profile, settings=given)).spec


def test_a_profile_fills_in_settings_and_set_goes_over_it() -> None:
    spec = planned("eventual", read_quorum="2")
    assert (spec.config["conflict"], spec.config["write.quorum"], spec.config["read.quorum"]) == (
        "lww",
        "ONE",
        "2",
    )
    assert spec.settings["read.quorum"] == "2"
    assert "conflict" not in spec.settings


def test_the_command_that_runs_it_again_names_the_profile() -> None:
    assert "--profile quorum-repair --set read.quorum=ALL" in repro.command(
        planned("quorum-repair", read_quorum="ALL")
    )
    assert "--profile" not in repro.command(RUN)


def test_every_profile_of_the_store_is_a_legal_configuration_with_a_promise() -> None:
    system = QuorumSystem()
    promises = {name: system.promise(planned(name).config) for name in profiles_of(system)}
    assert all(promises.values())
    assert promises["abd"] != promises["quorum-repair"] != promises["quorum"] != promises["eventual"]


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_profiles_only_set_what_the_store_declares(profile: str) -> None:
    resolve_settings(SETTINGS, PROFILES[profile])


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown profile of system 'quorum' 'adb': did you mean 'abd'"):
        planned("adb")


def test_a_system_without_profiles_says_so() -> None:
    with pytest.raises(UserError, match="system 'plain' has no profiles"):
        with_profile("abd", {}, "plain", object())
