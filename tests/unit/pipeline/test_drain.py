"""A drained study: cells under way are finished, none is begun, every worker sees it, and scripts can tell."""

import getpass
import io
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from plw.cli import app
from plw.commands.choice import chosen_cell
from plw.errors import CellsLeftError, UserError
from plw.pipeline.stage import StageResult
from plw.pipeline.stage_functions import STAGE_FUNCTIONS
from plw.registry import Registry
from plw.results.stage_state import StageState
from plw.sweep.drain import DRAIN, Gate, begin_drain, end_drain, read_drain
from plw.sweep.grid import run_grid
from plw.sweep.slurm.submit import SlurmOptions, submit_grid
from plw.sweep.status import print_status
from plw.sweep.summary import raise_if_unfinished
from plw.sweep.watch import watch_study
from tests.unit.pipeline.conftest import OwnStudy, run

SCREEN = Console(quiet=True)


def test_a_drain_lets_the_cell_under_way_end_and_no_other_begin(
    own_study: OwnStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def drains(context: Any, _: Any) -> StageResult:
        begin_drain(context.config)
        done.append(context.cell.label)
        return StageResult()

    monkeypatch.setitem(STAGE_FUNCTIONS, "train", drains)
    monkeypatch.setitem(STAGE_FUNCTIONS, "generate", lambda *_: StageResult())
    configs = [own_study(f"loss.prompt_weight={weight}", "execution.workers=1") for weight in (0, 0.1)]
    result = run_grid(configs, SCREEN)
    assert [{kind: stage.status for kind, stage in cell.stages.items()} for cell in result.outcomes] == [
        {"train": "done", "generate": "done"}
    ]
    assert result.not_begun == 1
    assert result.why_not.startswith("drained since ")
    with pytest.raises(CellsLeftError, match="1 cell left for later"):
        raise_if_unfinished(result)
    assert run_grid(configs, SCREEN).not_begun == 1, "so it stays"
    assert end_drain(configs[0])
    assert not end_drain(configs[0])
    assert run_grid(configs, SCREEN).not_begun == 0
    assert len(done) == 2


def test_once_closed_a_gate_stays_so(own_study: OwnStudy) -> None:
    """By its hours, which count from the grid's start, or by a drain that is over by now."""
    config = own_study("execution.budget_hours=0.5")
    assert Gate(config, time.monotonic() - 1790).may_begin()
    spent = Gate(config, time.monotonic() - 1801)
    assert not spent.may_begin()
    assert spent.closed == "the hours of execution.budget_hours are used up"
    gate = Gate(own_study(), time.monotonic() - 1e6)
    assert (gate.may_begin(), gate.closed) == (True, None)
    config.study_folder.mkdir(parents=True)
    begin_drain(config)
    assert not gate.may_begin()
    assert end_drain(config)
    assert not gate.may_begin()
    assert gate.closed is not None
    assert gate.closed.startswith("drained since ")
    assert gate.closed.endswith("; `plw drain --undo` ends that")


def test_who_drained_a_study_is_told_also_where_the_user_has_no_name(
    own_study: OwnStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own_study()
    config.study_folder.mkdir(parents=True)
    monkeypatch.setattr(getpass, "getuser", lambda: {}["nobody"])
    before = time.time()
    made = begin_drain(config)
    assert made.by == f"user {os.getuid()}@{socket.gethostname()}"
    assert before <= made.since <= time.time()
    assert read_drain(config) == made


def test_nothing_of_a_drained_study_is_submitted_to_slurm(own_study: OwnStudy) -> None:
    config = own_study()
    config.study_folder.mkdir(parents=True)
    begin_drain(config)
    with pytest.raises(CellsLeftError, match=r"1 cell left for later: drained since .* after `plw drain --undo`"):
        submit_grid([config], SlurmOptions(), SCREEN)


def test_the_commands(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs/registry.sqlite"
    here = ["study=plw", "scale=mini", f"execution.runs={tmp_path}/runs", f"registry.url={url}"]
    config = chosen_cell(here)
    with pytest.raises(UserError, match="no such folder; nothing of study=plw has been run there"):
        begin_drain(config)
    config.study_folder.mkdir(parents=True)
    Registry.open(url).close()

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, *here], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    screen = io.StringIO()
    console = Console(file=screen, width=200)
    assert "plw-mini: drained since" in said("drain")
    since = read_drain(config)
    assert begin_drain(config) == since, "the first one stands"
    print_status(config, console)
    assert "no new cell is begun" in screen.getvalue()
    watch_study(config, console)
    assert "0 running, 0 failed, drained since" in screen.getvalue(), "nothing runs, so it comes back"
    assert "takes cells again" in said("drain", "--undo")
    assert not (config.study_folder / DRAIN).exists()


def test_a_running_stage_says_how_far_it_is(own_study: OwnStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    config = own_study("execution.heartbeat_s=0.02", "stages=[train]")
    seen: list[StageState] = []

    def works(context: Any, check_lease: Any) -> StageResult:
        context.state.measure(1.25, 900.0)
        context.progress_for("train", check_lease)(3, 12, "loss 1.250")
        with Registry.open(config.registry.url) as registry:
            while not seen:
                state = StageState.from_json(registry.stage_rows()[0].progress)
                seen.extend([] if state is None else [state])
        return StageResult()

    monkeypatch.setitem(STAGE_FUNCTIONS, "train", works)
    assert run(config).stages["train"].status == "done"
    assert (seen[0].done, seen[0].total, seen[0].note, seen[0].loss) == (3, 12, "loss 1.250", 1.25)
