"""From a spec to a plan: defaults filled in, every mistake refused in one line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness import repro
from harness.errors import UserError
from harness.plan import resolve
from harness.schedule import Fault, Schedule
from harness.spec import Spec

pytestmark = pytest.mark.usefixtures("toy")


def spec(**asked: Any) -> Spec:
    return Spec(**{"system": "toy-bag", "workload": "bag", **asked})


def test_every_default_is_filled_in() -> None:
    plan = resolve(spec(settings={"bag.size": "2"}))
    assert plan.spec.concurrency == 2
    assert plan.spec.rate == 50.0
    assert plan.spec.settings == {"bag.size": 2}
    assert plan.spec.config["bag.size"] == 2
    assert plan.spec.config["op.timeout.ms"] == 10_000
    assert plan.topology.clients == ("client-0", "client-1")
    assert plan.topology.subjects["leader"] == ("bag/0",)
    assert resolve(plan.spec).spec == plan.spec


def test_composed_nemeses_draw_independently() -> None:
    alone = resolve(spec(nemesis="toy-kill")).schedule.faults
    both = resolve(spec(nemesis="toy-kill+toy-cut")).schedule.faults
    assert {f.at_ms for f in alone} <= {f.at_ms for f in both}
    assert list(both) == sorted(both, key=lambda f: f.at_ms)
    assert {f.kind for f in both} == {"kill", "partition"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"system": "toy-bug"}, "unknown system 'toy-bug': did you mean 'toy-bag'"),
        ({"workload": "bags"}, "unknown workload 'bags': did you mean 'bag'"),
        ({"nemesis": "toy-kil"}, "unknown nemesis 'toy-kil': did you mean 'toy-kill'"),
        ({"nemesis": "toy-kill+"}, "expected names joined by '+'"),
        ({"backend": "smi"}, "unknown backend 'smi': did you mean 'sim'"),
        ({"settings": {"bag.sizes": "1"}}, "unknown --set key 'bag.sizes': did you mean 'bag.size'"),
        ({"settings": {"bag.size": "many"}}, "bag.size=many: expected a whole number of at least 1"),
        ({"settings": {"bag.size": "4"}}, "bag.size=4 with 3 nodes can never be satisfied"),
        ({"bugs": ("amnesa",)}, "did you mean 'amnesia'"),
        ({"nodes": 0}, "--nodes: expected more than 0"),
        ({"time_limit_ms": 0}, "--time-limit: expected more than 0"),
        ({"concurrency": -1}, "--concurrency: expected more than 0"),
        ({"final": "everything"}, "unknown --final"),
        (
            {"backend": "sim", "schedule": Schedule((Fault(at_ms=0, kind="cpu", selector="n1"),))},
            "backend 'sim' cannot do cpu (it can do ",
        ),
        (
            {"backend": "sim", "schedule": Schedule((Fault(at_ms=0, kind="cpu", selector="n1"),))},
            "backends that can: docker",
        ),
        (
            {"schedule": Schedule((Fault(at_ms=0, kind="kill", selector="n9"),))},
            "fault 0 (kill at 0 ms): selector 'n9'",
        ),
        (
            {"backend": "local", "schedule": Schedule((Fault(at_ms=0, kind="clock", selector="client-1"),))},
            "selector 'client-1' names a client; on backend 'local' clients can be hit by datagrams, flaky, kill",
        ),
        (
            {
                "backend": "local",
                "schedule": Schedule((Fault(at_ms=0, kind="power", selector="one-of(clients+n1)"),)),
            },
            "aim it at a node",
        ),
        (
            {"schedule": Schedule((Fault(at_ms=0, kind="disk-full", selector="clients"),))},
            "on backend 'sim' clients can be hit by clock, datagrams",
        ),
    ],
)
def test_mistakes_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        resolve(spec(**asked))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("backend", "kind", "selector"),
    [
        ("local", "kill", "clients"),
        ("local", "clock", "n1"),
        ("local", "pause", "client-0"),
        ("sim", "clock", "clients"),
    ],
)
def test_clients_can_be_hit_where_they_can(backend: str, kind: str, selector: str) -> None:
    schedule = Schedule((Fault(at_ms=0, kind=kind, selector=selector),))
    assert resolve(spec(backend=backend, schedule=schedule)).schedule == schedule


def test_a_workload_on_a_system_that_cannot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import toy_bag

    monkeypatch.setattr(toy_bag.ToyBag, "capabilities", frozenset({"log"}))
    with pytest.raises(
        UserError, match=r"needs bag, which system 'toy-bag' does not offer \(it offers log\)"
    ):
        resolve(spec())


def test_the_command_that_runs_it_again() -> None:
    assert repro.command(Spec()) == "chaos test --workload eos --nemesis none --seed 0"
    asked = spec(
        nemesis="a+b", nodes=5, time_limit_ms=90_000, settings={"x": True}, bugs=("amnesia",), seed=7
    )
    assert repro.command(asked) == (
        "chaos test --system toy-bag --workload bag --nemesis a+b --nodes 5 --time-limit 90 --set x=true "
        "--bug amnesia --seed 7"
    )
    replayed = msgspec.structs.replace(asked, schedule=Schedule())
    assert "--schedule runs/1/schedule.json" in repro.command(replayed, schedule_file="runs/1/schedule.json")


def refused(**asked: Any) -> str:
    with pytest.raises(UserError) as error:
        resolve(Spec(workload="register", system="redis", **asked))
    return str(error.value)


def test_what_needs_a_node_program_of_ours_is_refused_for_others() -> None:
    power = Schedule((Fault(at_ms=0, kind="power", selector="r1"),))
    for backend in ("local", "docker"):
        told = refused(backend=backend, schedule=power)
        assert told.startswith(f"backend '{backend}' cannot do power to system 'redis'")
        assert told.endswith("backends that can: none")
    full = Schedule((Fault(at_ms=0, kind="disk-full", selector="r1"),))
    assert refused(backend="local", schedule=full).endswith("backends that can: docker")
