"""A grid's start where the registry is away: a person is told at once, a job of a scheduler waits."""

import io
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from rich.console import Console

from plw.config import ExecutionConfig
from plw.errors import UserError
from plw.pipeline import resolve_cell
from plw.pipeline.stage import StageResult
from plw.pipeline.stage_functions import STAGE_FUNCTIONS
from plw.registry import Owner, Registry, database
from plw.sweep import grid as grid_module
from plw.sweep.drain import end_drain, read_drain
from plw.sweep.grid import prepare_grid, resolve_grid, run_grid
from tests.unit.pipeline.conftest import OwnStudy

SCREEN = Console(quiet=True)


def test_a_registry_that_is_away_is_waited_for_where_the_caller_says_so(
    own_study: OwnStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    config = own_study()
    path = tmp_path / "runs/registry.sqlite"
    Registry.open(f"sqlite:///{path}").close()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match="cannot open the registry"):
        prepare_grid([config], SCREEN)
    timer = threading.Timer(0.5, other.close)
    timer.start()
    try:
        todo, cells = prepare_grid([config], SCREEN, wait_s=30)
    finally:
        timer.join()
    assert len(todo) == len(cells) == 1


@pytest.mark.parametrize("place", ["hello", "host:", ":29400", "host:0", "host:65536", "host:port", "a host:29400"])
def test_a_rendezvous_where_nobody_can_come_is_refused(place: str) -> None:
    with pytest.raises(UserError, match="is no meeting place; allowed: HOST:PORT"):
        ExecutionConfig(nodes=2, rendezvous=place)


@pytest.mark.parametrize("place", ["slurm", "host:1", "10.0.0.1:29400", "[::1]:65535"])
def test_a_rendezvous_of_host_and_port_is_taken(place: str) -> None:
    assert ExecutionConfig(nodes=2, rendezvous=place).rendezvous == place


def test_slurms_rendezvous_outside_of_its_jobs_is_told_before_the_first_cell(
    own_study: OwnStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    config = own_study("stages=[train]", "execution.nodes=2", "execution.rendezvous=slurm")
    with pytest.raises(UserError, match="rendezvous=slurm: this is no Slurm job"):
        run_grid([config], SCREEN)
    assert not list(tmp_path.rglob("payload.json"))


@pytest.mark.parametrize("text", ["{", "[]", '{"since": "x", "by": 1}', "\0"])
def test_a_drain_that_cannot_be_read_says_what_removes_it(own_study: OwnStudy, tmp_path: Path, text: str) -> None:
    config = own_study()
    path = tmp_path / "runs" / config.runs_name / "drain.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UserError, match="`plw drain --undo` removes it"):
        read_drain(config)
    assert end_drain(config)
    assert read_drain(config) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns of itself from inside its compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_cell_that_compiles_has_a_compiler_before_the_first_cell(own_study: OwnStudy, tmp_path: Path) -> None:
    from torch._inductor import config as inductor

    config = own_study("stages=[train]", "execution.compile=true")
    with (
        inductor.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.raises(UserError, match=r"execution.compile=true, .* No working C\+\+ compiler .*; install a C\+\+"),
    ):
        run_grid([config], SCREEN)
    assert not list(tmp_path.rglob("payload.json"))
    todo, _ = prepare_grid([config], SCREEN)
    assert len(todo) == 1


@pytest.mark.parametrize("name", ["runs", "cache"])
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_made(
    own_study: OwnStudy, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    config = own_study(f"execution.{name}={tmp_path}/file/below", f"registry.url=sqlite:///{tmp_path}/r.sqlite")
    with pytest.raises(UserError, match=rf"execution.{name}={tmp_path}/file/below cannot be written: Not a directory"):
        prepare_grid([config], SCREEN)
    assert not (tmp_path / "r.sqlite").exists()


def test_a_grid_without_cells_is_refused() -> None:
    with pytest.raises(UserError, match="the grid has no cells"):
        resolve_grid([])


def test_a_cell_that_another_worker_holds_is_waited_for_and_done(
    own_study: OwnStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go first; held twice it is told twice."""
    monkeypatch.setitem(STAGE_FUNCTIONS, "train", lambda *_: StageResult())
    configs = [own_study("stages=[train]", "execution.workers=1", f"seed={seed}") for seed in (1, 2)]
    held, owner = resolve_cell(configs[0]), Owner.here()
    key = held.stage_key("train")
    registry = Registry.open(configs[0].registry.url)
    registry.ensure_cell(held.row())
    registry.claim(key, kind="train", fingerprint=held.stages["train"].fingerprint, owner=owner, lease_timeout_s=60)
    waits: list[float] = []

    def let_go(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            assert registry.release(key, owner.token)

    monkeypatch.setattr(grid_module.time, "sleep", let_go)
    said = io.StringIO()
    with registry:
        result = run_grid(configs, Console(file=said, width=120))
    assert [outcome.label for outcome in result.outcomes] == [resolve_cell(configs[n]).label for n in (1, 0)]
    assert waits == [grid_module.BUSY_WAIT_S] * 2
    assert said.getvalue().count("1 cell held by another worker; waiting") == 2
    assert "2 cells to run in this process, 0 done before" in said.getvalue()
    assert (result.not_begun, result.skipped, result.failed) == (0, 0, [])
    again = run_grid([*configs, configs[0]], SCREEN)
    assert (again.skipped, again.outcomes) == (2, [])
