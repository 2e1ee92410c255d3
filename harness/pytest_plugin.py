"""pytest plug-in: a fixture `chaos` that runs tests of distributed systems, and fails with the story of the anomaly.

    def test_orders(chaos):
        chaos.run(workload="eos", nemesis="partition", seeds=20)

    @pytest.mark.chaos(system="broker", settings={"acks": "1"})
    def test_loses(chaos):
        chaos.run(workload="produce", nemesis="kill", seeds=20, expect=["lost-write"])

Registered under `pytest11`. Runs are worker processes with the hash seed pinned, so that they are the same as on the
command line; their folders lie in pytest's temporary folder, or under `--chaos-out`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.campaign import Summary
    from harness.spec import Spec

MARK = "chaos"
NOT_ASKED = ("config", "version", "chaos_version", "time_limit_ms")
"""Fields of a specification that `chaos.run` does not take: they follow from what it takes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption("--chaos-out", metavar="FOLDER", help="Run folders go here, and stay.")
    group.addoption(
        "--chaos-seeds", type=int, metavar="N", help="Seeds of every chaos run, whatever it asks for."
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARK}(**options): what every `chaos.run` of the test takes unless it says otherwise"
    )


@pytest.fixture
def chaos(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chaos]:
    """Runs chaos tests. See `harness.pytest_plugin.Chaos`."""
    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(MARK))):
        options |= mark.kwargs
    out = request.config.getoption("--chaos-out")
    root = tmp_path / "chaos-runs" if out is None else Path(out)
    yield Chaos(root, options, request.config.getoption("--chaos-seeds"))


class Chaos:
    """What the fixture gives a test."""

    def __init__(self, root: Path, options: Mapping[str, Any], seeds: int | None) -> None:
        self.root = root
        self._options = dict(options)
        self._seeds = seeds

    def run(
        self,
        *,
        seeds: int = 1,
        seed: int = 0,
        expect: Iterable[str] = (),
        cores: int | None = None,
        **options: Any,
    ) -> Summary:
        """Runs `seeds` seeds from `seed` on and fails the test on an anomaly, or where a run proves nothing.

        `options` are those of `chaos test`: `workload`, `nemesis`, `system`, `nodes`, `concurrency`, `rate`,
        `time_limit` (seconds, or text such as "30s"), `settings` (a mapping), `bugs`, `backend`, `client`, `final`.
        With `expect`, the test fails unless exactly these anomalies are found.
        """
        __tracebackhide__ = True
        given = {
            "seeds": seeds,
            "seed": seed,
            "expect": tuple(expect),
            "cores": cores,
            **self._options,
            **options,
        }
        count = self._seeds or given.pop("seeds")
        given.pop("seeds", None)
        first, expected, processes = given.pop("seed"), given.pop("expect"), given.pop("cores")
        return self._judge(_spec(given), range(first, first + count), tuple(expected), processes)

    def replay(self, spec: str | Path | Spec, *, seeds: int = 1, expect: Iterable[str] = ()) -> Summary:
        """Runs a specification again: its JSON text (as `chaos shrink` writes it), a run folder, or one
        that `harness.strategies` drew.

        Fails on an anomaly only: a run that was shrunk to a few operations is too thin to be `valid`.
        """
        __tracebackhide__ = True
        read = _read(spec)
        count = self._seeds or seeds
        return self._judge(read, range(read.seed, read.seed + count), tuple(expect), None, thin=True)

    def _judge(
        self,
        spec: Spec,
        seeds: Iterable[int],
        expected: tuple[str, ...],
        cores: int | None,
        thin: bool = False,
    ) -> Summary:
        from harness.campaign import run_seeds, summarise
        from harness.cli.group import UNKNOWN, VALID
        from harness.cli.verdict import check_expected, exit_code, expectation, report_unless_valid
        from harness.errors import UserError
        from harness.plan import resolve

        __tracebackhide__ = True
        try:
            check_expected(expected)
            resolve(spec)
            summary = summarise(
                run_seeds(spec, seeds, root=self.root, cores=cores, after=report_unless_valid)
            )
        except UserError as error:
            raise pytest.UsageError(str(error)) from None
        code = exit_code(summary, expected)
        if code != VALID and not (thin and code == UNKNOWN):
            pytest.fail(story(summary, expectation(summary, expected)), pytrace=False)
        return summary


def story(summary: Summary, expectation: str | None = None) -> str:
    """What went wrong, in words: the first run that shows it, as its terminal summary tells it, and all the others."""
    from harness.cli.verdict import campaign_text, run_text
    from harness.results import Verdict

    bad = [run for run in summary.runs if run.verdict is not Verdict.VALID]
    worst = sorted(bad, key=lambda run: (run.verdict is not Verdict.INVALID, run.seed))
    parts = [] if expectation is None else [expectation]
    if worst:
        parts.append(_told(Path(worst[0].dir or "")))
        parts += [run_text(run) for run in worst[1:10]]
    if len(summary.runs) > 1:
        parts.append(campaign_text(summary))
    return "\n".join(part for part in parts if part)


def _told(folder: Path) -> str:
    import msgspec

    from harness import store
    from reports.terminal import summary

    result = msgspec.json.decode((folder / store.RESULT).read_bytes())
    spec = msgspec.json.decode((folder / store.SPEC).read_bytes())
    report = folder / "report.html"
    return str(summary(result, spec, report if report.exists() else None, colour=False))


def _spec(given: Mapping[str, Any]) -> Spec:
    from harness.cli.options import parse_duration_ms
    from harness.errors import unknown_name
    from harness.spec import Spec

    __tracebackhide__ = True
    known = sorted({*Spec.__struct_fields__, "time_limit", "on"} - set(NOT_ASKED))
    for name in given:
        if name not in known:
            raise pytest.UsageError(str(unknown_name("option of chaos.run", name, known)))
    options = dict(given)
    if "time_limit" in options:
        options["time_limit_ms"] = parse_duration_ms(str(options.pop("time_limit")))
    if "on" in options:
        options["backend"] = options.pop("on")
    options["bugs"] = tuple(options.get("bugs", ()))
    return Spec(**options)


def _read(spec: str | Path | Spec) -> Spec:
    import msgspec

    from harness import store
    from harness.errors import UserError
    from harness.spec import Spec

    __tracebackhide__ = True
    if isinstance(spec, Spec):
        return spec
    try:
        if isinstance(spec, Path) or not spec.lstrip().startswith("{"):
            folder = store.find(Path(spec))
            return msgspec.structs.replace(
                store.read_spec(folder), schedule=store.read_schedule(folder), config={}
            )
        return msgspec.json.decode(spec, type=Spec)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    except msgspec.MsgspecError as error:
        raise pytest.UsageError(f"chaos.replay: not a specification: {error}") from None
