"""Prompt sensitivity as a part of the stage `diagnose`: scores, items and identity."""

import json
from pathlib import Path

import pytest

from plw.config.compose import register_schema
from plw.errors import UserError
from plw.pipeline import resolve_cell
from plw.pipeline.preflight import check_inputs
from plw.results.items import read_items
from tests.unit.pipeline.conftest import OwnStudy, run


def test_a_suite_without_it_keeps_its_identity_and_one_with_it_goes_by_the_files_content(
    own_study: OwnStudy, tmp_path: Path
) -> None:
    prompts = tmp_path / "wordings.json"
    prompts.write_text(json.dumps([{"instruction": "Name three colours."}]))
    plain = resolve_cell(own_study())
    assert set(plain.stages["diagnose"].payload) == {"train", "diagnostics"}
    asked = (f"suite.sensitivity.prompts={prompts}", "suite.sensitivity.limit=1")
    register_schema(asked)
    first = resolve_cell(own_study(*asked))
    assert str(prompts) not in json.dumps(first.stages["diagnose"].payload)
    assert {kind for kind in plain.stages if plain.stages[kind].fingerprint != first.stages[kind].fingerprint} == {
        "diagnose"
    }
    prompts.write_text(json.dumps([{"instruction": "Name four colours."}]))
    assert resolve_cell(own_study(*asked)).stages["diagnose"].fingerprint != first.stages["diagnose"].fingerprint
    prompts.write_text(json.dumps([{"text": "x"}]))
    with pytest.raises(UserError, match="no text in field instruction"):
        check_inputs([resolve_cell(own_study(*asked, "stages=[diagnose]"))])


def test_the_stage_leaves_scores_and_an_item_for_each_prompt(own_study: OwnStudy, tmp_path: Path) -> None:
    prompts = tmp_path / "wordings.json"
    prompts.write_text(json.dumps([{"instruction": f"Name {n} colours."} for n in ("three", "four", "five")]))
    register_schema([f"suite.sensitivity.prompts={prompts}"])
    config = own_study(f"suite.sensitivity.prompts={prompts}", "stages=[train,diagnose]")
    outcome = run(config)
    assert {kind: stage.status for kind, stage in outcome.stages.items()} == {"train": "done", "diagnose": "done"}
    record = json.loads((outcome.folder / "diagnose-own" / "record.json").read_text())
    scores = {score["metric"]: score for score in record["scores"] if score["benchmark"] == "prompt_sensitivity"}
    items = read_items(outcome.folder / "diagnose-own" / "items.parquet").to_pylist()
    assert [item["item"] for item in items] == [0, 1, 2]
    assert scores["posix"]["value"] == pytest.approx(sum(item["value"] for item in items) / 3)
    assert scores["posix"]["n"] == 3
