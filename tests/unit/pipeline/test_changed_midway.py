"""A file that is edited while a command runs: no stage is scored on one content under the name of another."""

import json
import pickle
import shutil
from pathlib import Path

import pytest

from plw.data.inputs import check_unchanged
from plw.errors import UserError
from plw.files.reading import read_json
from plw.pipeline import CellOutcome, JudgeCache, resolve_cell, run_cell
from plw.pipeline.cell import Cell
from plw.sweep.slurm.job import CellJob
from plw.sweep.workers import run_cells
from tests.unit.pipeline.conftest import OwnStudy

STAGES = "stages=[train,diagnose,harness,generate]"
EDITED = {
    "train": ("records.json", "dataset.path"),
    "diagnose": ("model/config.json", "model.path"),
    "harness": ("questions.jsonl", "suite.tasks.piqa.files.validation"),
    "generate": ("prompts.json", "suite.prompts.alpaca_eval.prompts"),
}
"""Stage -> a file that it reads, and the config field that leads there."""


def append_space(path: Path) -> None:
    """Another content, as a person's editor may leave it; what it says stays the same."""
    path.write_text(path.read_text() + "\n")


def run_and_edit(cell: Cell, before: str, path: Path) -> CellOutcome:
    """Run a cell; the file changes as the stage before ``before`` ends, or before the first begins."""
    kinds = cell.config.stages
    last = None if before == kinds[0] else kinds[kinds.index(before) - 1]
    if last is None:
        append_space(path)

    def report(label: str, stage: str, done: int, total: int | None, note: str) -> None:
        if total is None and stage == last:
            append_space(path)

    with JudgeCache() as judges:
        return run_cell(cell, report, judges)


@pytest.mark.parametrize("kind", EDITED)
def test_the_stage_that_would_read_another_content_fails_and_the_same_command_continues(
    own_study: OwnStudy, tmp_path: Path, kind: str
) -> None:
    name, field = EDITED[kind]
    path, config = tmp_path / name, own_study(STAGES)
    original = path.read_text()

    cell = resolve_cell(config)
    outcome = run_and_edit(cell, kind, path)

    given = str(tmp_path / name.split("/")[0])
    assert (outcome.stages[kind].error or "").startswith(f"{field}={given} was changed since the command began")
    readers = {other for other in outcome.stages if any(item.location == given for item in cell.read_by(other))}
    failed = {other for other, stage in outcome.stages.items() if stage.status == "failed"}
    # The training has read the model before it changed.
    assert failed == (readers if kind == "train" else readers - {"train"})

    path.write_text(original)
    with JudgeCache() as judges:
        again = run_cell(resolve_cell(config), lambda *_: None, judges)
    assert all(stage.finished for stage in again.stages.values())


def test_a_grids_later_cells_are_those_that_were_planned(own_study: OwnStudy, tmp_path: Path) -> None:
    """The data change while the first cell is trained: the second one is refused, not made of other data."""
    words = ("stages=[train]", "execution.max_attempts=1")
    cells = [resolve_cell(own_study(*words, f"loss.prompt_weight={weight}")) for weight in (0, 1)]
    outcomes = []
    for _, outcome in run_cells(cells, workers=1, report=lambda *_: None, may_begin=lambda: True):
        outcomes.append(outcome)
        if len(outcomes) == 1:
            rows = read_json(tmp_path / "records.json")
            (tmp_path / "records.json").write_text(json.dumps(rows[:8]))

    assert [outcome.stages["train"].status for outcome in outcomes] == ["done", "failed"]
    assert "dataset.path=" in (outcomes[1].stages["train"].error or "")
    assert len(list((tmp_path / "runs").glob("*/d/m/*/train/record.json"))) == 1


def test_every_file_that_names_a_stage_is_among_what_it_reads(own_study: OwnStudy, tmp_path: Path) -> None:
    """Whatever of the user's files enters a payload, its change is seen by a stage."""
    cell = resolve_cell(own_study("stages=[train,diagnose,harness,generate,judge]"))
    read = {item.location for kind in cell.stages for item in cell.read_by(kind) if item.again is not None}
    assert read == {str(tmp_path / name) for name in ("model", "records.json", "questions.jsonl", "prompts.json")}
    assert {item.location for item in cell.read_by("judge")} == {str(tmp_path / "prompts.json")}


def test_an_input_that_is_gone_is_named(own_study: OwnStudy, tmp_path: Path) -> None:
    cell = resolve_cell(own_study())
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(UserError, match=r"^model\.path=.*: no such folder"):
        check_unchanged(cell.read_by("train"))


def test_a_slurm_job_does_not_start_on_other_inputs_than_it_was_submitted_with(
    own_study: OwnStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = resolve_cell(own_study("stages=[train]"))
    job = pickle.loads(pickle.dumps(CellJob(cell.config, 0, tuple(cell.inputs))))
    append_space(tmp_path / "records.json")
    with pytest.raises(SystemExit) as ended:
        job()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"plw: dataset.path={tmp_path}/records.json was changed since")
    assert not (tmp_path / "runs").exists()
