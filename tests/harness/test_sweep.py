"""Sweeps: what is asked and predicted, one line a run in Parquet, resuming, executors, and the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import distributed
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign import RunLine
from harness.cli.group import chaos
from harness.errors import UserError
from harness.results import Verdict
from harness.sweep import campaign, matrix
from harness.sweep.cells import cells
from harness.sweep.executors import Cores, executor
from harness.sweep.matrix import Matrix, Row
from harness.sweep.predictions import disagreements, parse
from harness.sweep.table import Table

KNOWN = ("lost-write", "duplicate", "inconsistent-offsets")


def sweep(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(chaos, ["sweep", *words])
    return done.exit_code, done.output


# ── predictions ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "found", "told"),
    [
        ("-", (), []),
        ("-", ("duplicate",), ["duplicate was found and not predicted"]),
        ("must lost-write", ("lost-write",), []),
        ("must lost-write", (), ["lost-write was predicted and not found in 3 runs"]),
        ("must lost-write/duplicate", ("duplicate",), []),
        ("must lost-write; may duplicate", ("lost-write", "duplicate"), []),
        (
            "must lost-write; must duplicate",
            ("lost-write",),
            ["duplicate was predicted and not found in 3 runs"],
        ),
        ("may duplicate", (), []),
        ("may duplicate", ("lost-write",), ["lost-write was found and not predicted"]),
    ],
)
def test_a_prediction_agrees_or_says_why_not(text: str, found: tuple[str, ...], told: list[str]) -> None:
    assert disagreements(parse(text, KNOWN), found, 3) == told


@pytest.mark.parametrize(
    ("text", "complaint"), [("must lost-writ", "did you mean 'lost-write'"), ("perhaps x", "expected '-'")]
)
def test_a_prediction_that_means_nothing_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parse(text, KNOWN)


@pytest.mark.parametrize("name", matrix.shipped())
def test_the_shipped_tables_can_be_run(name: str) -> None:
    matrix.check(matrix.load(name))


# ── a sweep of the toy system ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def toy_matrix(toy: None) -> Matrix:
    return Matrix(
        name="bags",
        system="toy-bag",
        workload="bag",
        nemeses=("none", "toy-kill"),
        rows=(
            Row(name="right", predict={"none": "-", "toy-kill": "-"}),
            Row(name="forgetful", bugs=("amnesia",), predict={"none": "-", "toy-kill": "must lost-write"}),
        ),
        time_limit_ms=8_000,
        seeds=2,
    )


def test_every_cell_says_what_its_runs_found(toy_matrix: Matrix, tmp_path: Path) -> None:
    folder = campaign.create(tmp_path, toy_matrix)
    seen: list[campaign.Progress] = []
    found = campaign.run(folder, Cores(2), lambda so_far, run: seen.append(msgspec.structs.replace(so_far)))
    assert [(cell.row, cell.nemesis, cell.runs) for cell in found] == [
        ("right", "none", 2),
        ("right", "toy-kill", 2),
        ("forgetful", "none", 2),
        ("forgetful", "toy-kill", 2),
    ]
    assert [cell.found for cell in found] == [{}, {}, {}, {"lost-write": 2}]
    assert not any(cell.disagreements for cell in found)
    assert [p.done for p in seen] == list(range(1, 9))
    assert seen[-1].left_s == 0
    [example] = found[-1].examples
    assert example.dir is not None
    assert (Path(example.dir) / "history.jsonl").exists()
    kept = [f for f in (folder / "runs").iterdir() if not f.is_symlink()]
    assert kept == [Path(example.dir)]


def test_a_silent_cell_that_never_reached_what_it_should_proves_nothing(toy: None, tmp_path: Path) -> None:
    words = ["--system", "toy-bag", "--workload", "bag", "--nemesis", "none,toy-kill", "--time-limit", "8s"]
    words += ["--seeds", "1", "--out", str(tmp_path)]
    code, told = sweep(*words, "--sometimes", "never")
    assert code == 3, told
    assert "| defaults | – | nothing proven |" in told
    assert "defaults under toy-kill proves nothing: 1 runs never reached never (cannot happen)" in told
    assert "1 runs never reached never" in next(tmp_path.glob("*/matrix.html")).read_text()
    code, told = sweep(*words, "--sometimes", "never", "--bug", "amnesia")
    assert code == 0, told
    code, told = sweep(*words, "--sometimes", "nevre")
    assert code == 2
    assert "did you mean 'never'" in told


class Interrupted(Cores):
    """Ends after three runs, as a machine that is switched off."""

    def run(self, asked, root):  # type: ignore[no-untyped-def]
        for done, finished in enumerate(super().run(asked, root), start=1):
            yield finished
            if done == 3:
                raise KeyboardInterrupt


def test_an_interrupted_sweep_goes_on_where_it_was(toy_matrix: Matrix, tmp_path: Path) -> None:
    folder = campaign.create(tmp_path, toy_matrix)
    begun = campaign.run(folder, Interrupted(2), lambda so_far, run: None)
    assert sum(cell.runs for cell in begun) == len(list(Table(folder).lines())) == 3
    assert "3 of 8 runs are done" in (campaign.unfinished(folder, begun) or "")
    more: list[RunLine] = []
    found = campaign.run(folder, Cores(2), lambda so_far, run: more.append(run))
    assert len(more) == 5
    assert [cell.runs for cell in found] == [2, 2, 2, 2]
    assert campaign.unfinished(folder, found) is None
    again: list[RunLine] = []
    campaign.run(folder, Cores(2), lambda so_far, run: again.append(run))
    assert again == []


def test_a_ctrl_c_says_how_to_go_on(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--system", "toy-bag", "--workload", "bag", "--nemesis", "none,toy-kill", "--time-limit", "2s"]
    with monkeypatch.context() as patched:
        patched.setattr("harness.cli.sweep.executor", lambda where, cores: Interrupted(2))
        code, told = sweep(*words, "--seeds", "2", "--out", str(tmp_path))
    [folder] = tmp_path.iterdir()
    assert code == 130, told
    assert f"3 of 4 runs are done: go on with `chaos sweep --resume {folder}`" in told
    code, told = sweep("--resume", str(folder))
    assert code == 0, told
    assert "interrupted" not in told


class Failing(Cores):
    """As where a disk fills up, a worker is killed or a scheduler goes away."""

    def run(self, asked, root):  # type: ignore[no-untyped-def]
        yield next(super().run(asked, root))
        raise UserError("cannot write: No space left on device")


def test_what_ends_a_sweep_keeps_its_finished_runs(
    toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.cli.sweep.executor", lambda where, cores: Failing(1))
    words = ["--system", "toy-bag", "--workload", "bag", "--time-limit", "2s", "--seeds", "2"]
    code, told = sweep(*words, "--out", str(tmp_path))
    [folder] = tmp_path.iterdir()
    assert code == 2
    assert told == (
        "chaos: cannot write: No space left on device; finished runs are kept: "
        f"go on with `chaos sweep --resume {folder}`\n"
    )
    assert len(list(Table(folder).lines())) == 1


def test_a_dask_cluster_finds_the_same(toy_matrix: Matrix, tmp_path: Path) -> None:
    found = []
    for name in ("local", "dask"):
        folder = campaign.create(tmp_path / name, toy_matrix)
        if name == "local":
            campaign.run(folder, Cores(2), lambda so_far, run: None)
        else:
            with distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster:
                address = cluster.scheduler_address.removeprefix("tcp://")
                campaign.run(folder, executor(f"dask://{address}"), lambda so_far, run: None)
        lines = Table(folder).lines()
        found.append([{k: v for k, v in line.items() if k not in ("dir", "wall_seconds")} for line in lines])
    assert found[0] == found[1]
    assert len(found[0]) == 8


def test_the_page_links_to_a_run_that_shows_it_and_survives_a_move(
    toy_matrix: Matrix, tmp_path: Path
) -> None:
    path = tmp_path / "bags.toml"
    path.write_text(
        """
name = "bags"
about = "A `bag` that forgets."
system = "toy-bag"
workload = "bag"
nemeses = ["toy-kill"]
time_limit_ms = 8000
[[rows]]
name = "<forgetful>"
bugs = ["amnesia"]
[rows.predict]
toy-kill = "-"
"""
    )
    code, told = sweep("--matrix", str(path), "--seeds", "1", "--out", str(tmp_path / "out"))
    assert code == 1, told
    assert "<forgetful> under toy-kill: lost-write was found and not predicted" in told
    [folder] = (tmp_path / "out").iterdir()
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    page = (moved / "matrix.html").read_text()
    assert "&lt;forgetful&gt;" in page
    assert "lost-write was found and not predicted" in page
    link = page.split('<a href="')[1].split('"')[0]
    assert (moved / link).exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--matrix", "durabilty"), "did you mean 'durability'"),
        (("--vary", "acks"), "expected KEY=A,B,C"),
        (("--vary", "ack=0,1"), "did you mean 'acks'"),
        (("--vary", "acks=0,2"), "acks=2: expected one of"),
        (("--bug", "truncate-to-wh"), "did you mean 'truncate-to-hw'"),
        (("--workload", "produce", "--nemesis", "kil"), "did you mean 'kill'"),
        (("--executor", "spark://x"), "expected 'local' or 'dask://host:port'"),
        (("--executor", "dask://127.0.0.1:1"), "no Dask scheduler answers at 127.0.0.1:1"),
        (("--resume", "nowhere"), "nowhere is no sweep"),
        (("--matrix", "durability", "--vary", "acks=0"), "has its rows already"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    code, told = sweep(*words, "--out", str(tmp_path))
    assert code == 2, told
    assert complaint in told


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = 3", "name"),
        ('name = "x"\nnemeses = ["none"]\nrow = []', "unknown field `row`"),
        ('name = "x"\nnemeses = ["none"]\nrows = [{name = "a", setings = {}}]', "unknown field `setings`"),
        ("name =", "not a matrix"),
        ('name = "x"\nnemeses = ["none"]\nrows = []\nversion = 9', "format version 9"),
    ],
)
def test_a_matrix_file_with_a_mistake_names_it(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        matrix.read(text, "mine.toml")


# ── what a cell says ─────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(50, 100)), min_size=1, max_size=20))
def test_the_share_of_lost_writes_lies_within_its_interval(runs: list[tuple[int, int]]) -> None:
    asked = Matrix(name="x", nemeses=("n",), rows=(Row(name="r"),))
    lines = [
        {
            "row": "r",
            "nemesis": "n",
            "seed": seed,
            "verdict": Verdict.INVALID.value,
            "reason": None,
            "anomalies": ["lost-write"] if lost else [],
            "affected": {"lost-write": lost} if lost else {},
            "acknowledged": acknowledged,
            "available": None,
            "p50_ms": None,
            "p99_ms": None,
            "operations": 1,
            "situations": {},
            "dir": None,
        }
        for seed, (lost, acknowledged) in enumerate(runs)
    ]
    [cell] = cells(asked, lines)
    assert cell.lost is not None
    assert cell.lost.low <= cell.lost.value + 1e-9
    assert cell.lost.value <= cell.lost.high + 1e-9
    assert cell.lost.low >= 0
    assert cell.lost.high <= 1
