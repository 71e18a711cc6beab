"""A cell's stages: what needs nothing of a failed stage goes on, what needs it waits for the next run."""

import json
from pathlib import Path
from typing import Any

import pytest

from plw.config import STAGES
from plw.config.study import PREFERENCE
from plw.pipeline import resolve_cell
from plw.pipeline.stage import StageResult
from plw.pipeline.stage_functions import STAGE_FUNCTIONS
from tests.unit.pipeline.conftest import OwnStudy, run

KINDS = [kind for kind in STAGES if kind != PREFERENCE]
"""The stages of a cell without pairs."""


@pytest.mark.parametrize(
    ("fails", "others"),
    [
        ("train", set()),
        ("diagnose", {"train", "harness", "generate", "judge"}),
        ("harness", {"train", "diagnose", "generate", "judge"}),
        ("generate", {"train", "diagnose", "harness"}),
        ("judge", {"train", "diagnose", "harness", "generate"}),
    ],
)
def test_a_failed_stage_stops_only_those_that_read_its_result(
    own_study: OwnStudy, monkeypatch: pytest.MonkeyPatch, fails: str, others: set[str]
) -> None:
    def breaks(*_: Any) -> StageResult:
        raise RuntimeError("no such tensor")

    for kind in KINDS:
        monkeypatch.setitem(STAGE_FUNCTIONS, kind, breaks if kind == fails else lambda *_: StageResult())
    config = own_study(f"stages=[{','.join(KINDS)}]")
    outcome = run(config)
    assert {kind: stage.status for kind, stage in outcome.stages.items()} == {
        **dict.fromkeys(others, "done"),
        fails: "failed",
    }
    assert outcome.stages[fails].error == "RuntimeError: no such tensor"
    # The same command does what is left, and nothing twice.
    monkeypatch.setitem(STAGE_FUNCTIONS, fails, lambda *_: StageResult())
    again = run(config)
    assert {kind for kind, stage in again.stages.items() if stage.status == "skipped"} == others
    assert {kind for kind, stage in again.stages.items() if stage.status == "done"} == set(KINDS) - others


def test_train_and_generate_for_real(own_study: OwnStudy, tmp_path: Path) -> None:
    config = own_study()
    assert {kind: stage.status for kind, stage in run(config).stages.items()} == {"train": "done", "generate": "done"}
    answers = json.loads((resolve_cell(config).stages["generate"].folder / "alpaca_eval.json").read_text())
    assert [row["instruction"] for row in answers] == [f"Say {n}." for n in range(3)]
