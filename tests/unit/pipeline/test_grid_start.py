"""A grid's start where the registry is away: a person is told at once, a job of a scheduler waits."""

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from rich.console import Console

from plw.config import ExecutionConfig
from plw.errors import UserError
from plw.registry import Registry, database
from plw.sweep.drain import end_drain, read_drain
from plw.sweep.grid import prepare_grid, run_grid
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
