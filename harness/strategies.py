"""Hypothesis strategies for schedules and whole tests, to be composed in a project's own property tests.

    @given(spec=specs(workload="produce", nemesis="partition", settings={"acks": "all"}))
    def test_nothing_is_lost(chaos, spec):
        chaos.replay(spec)

A nemesis is a pure function of a `random.Random`; here its draws are Hypothesis' own, so that a failing schedule
shrinks with the rest of the example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import strategies as st

from harness import registry
from harness.plan import resolve
from harness.schedule import Schedule, merge
from harness.spec import Spec


def schedules(spec: Spec) -> st.SearchStrategy[Schedule]:
    """Schedules that the nemeses of `spec` may draw for its cluster and time limit. Raises `UserError`."""
    plan = resolve(msgspec.structs.replace(spec, schedule=Schedule(), config={}))
    nemeses = [registry.load("nemeses", name) for name in spec.nemesis.split("+")]

    def drawn(rng: Any) -> Schedule:
        return merge(*(n.schedule(plan.topology, spec.time_limit_ms, rng, plan.spec.config) for n in nemeses))

    return st.randoms(use_true_random=False).map(drawn)


def specs(
    *,
    workload: str,
    nemesis: str = "none",
    system: str = "broker",
    time_limit_ms: int = 10_000,
    settings: Mapping[str, Any | st.SearchStrategy[Any]] | None = None,
    bugs: tuple[str, ...] = (),
    seeds: st.SearchStrategy[int] | None = None,
) -> st.SearchStrategy[Spec]:
    """Whole tests: a drawn schedule, a drawn seed, and settings that are values or strategies of values."""
    given = {k: v if isinstance(v, st.SearchStrategy) else st.just(v) for k, v in (settings or {}).items()}
    base = Spec(system=system, workload=workload, nemesis=nemesis, time_limit_ms=time_limit_ms, bugs=bugs)

    @st.composite
    def built(draw: st.DrawFn) -> Spec:
        chosen = msgspec.structs.replace(base, settings=draw(st.fixed_dictionaries(given)))
        return msgspec.structs.replace(
            chosen,
            seed=draw(st.integers(0, 2**31 - 1) if seeds is None else seeds),
            schedule=draw(schedules(chosen)),
            nemesis="none",
        )

    return built()
