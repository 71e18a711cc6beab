"""Prompts of the protocol ``reference``: chrF of the answers and the file's own, no judge, an identity of their own."""

import dataclasses
import json
from pathlib import Path

import pytest
import sacrebleu

from analysis.items.parquet import read_cell
from plw.errors import UserError
from plw.pipeline import check_inputs, resolve_cell
from tests.unit.pipeline.conftest import PROMPTS, OwnStudy, run

REFERENCE = "suite.prompts.alpaca_eval.protocol=reference"


def test_answers_are_scored_by_chrf_and_a_judge_has_no_part(own_study: OwnStudy) -> None:
    config = own_study(REFERENCE, "stages=[train,generate,judge]")
    outcome = run(config)
    assert {stage.status for stage in outcome.stages.values()} == {"done"}
    folder = resolve_cell(config).stages["generate"].folder
    answers = [row["output"] for row in json.loads((folder / "alpaca_eval.json").read_text())]
    expected = sacrebleu.corpus_chrf(answers, [[prompt["output"] for prompt in PROMPTS]]).score
    (headline,) = [score for score in json.loads((folder / "record.json").read_text())["scores"] if score["headline"]]
    assert (headline["benchmark"], headline["metric"], headline["n"]) == ("alpaca_eval", "chrf", len(PROMPTS))
    assert headline["value"] == pytest.approx(expected)
    items = read_cell(folder).benchmarks["alpaca_eval"]
    assert items.counts_NC is not None
    assert len(items.key_N) == len(PROMPTS)


def test_the_protocol_is_identity_and_judged_prompts_keep_theirs(own_study: OwnStudy) -> None:
    stages = [resolve_cell(own_study(*words)).stages["generate"] for words in ((), (REFERENCE,))]
    assert stages[0].fingerprint != stages[1].fingerprint
    assert "protocol" not in json.dumps(stages[0].payload["prompts"])


def test_prompts_without_answers_are_refused_before_the_first_cell(own_study: OwnStudy, tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text(json.dumps([PROMPTS[0], {"instruction": "Say no."}]))
    with pytest.raises(UserError, match="row 2 has no reference answer"):
        check_inputs([resolve_cell(own_study(REFERENCE))])


def test_the_length_of_answers_is_over_all_sets_at_length(own_study: OwnStudy) -> None:
    sets, config = ("alpaca_eval", "mine", "yours"), own_study()
    prompts = dict.fromkeys(sets, config.suite.prompts["alpaca_eval"])
    config = dataclasses.replace(config, suite=dataclasses.replace(config.suite, prompts=prompts))
    assert {stage.status for stage in run(config).stages.values()} == {"done"}
    folder = resolve_cell(config).stages["generate"].folder
    lengths = [len(row["output"].split()) for name in sets for row in json.loads((folder / f"{name}.json").read_text())]
    scores = json.loads((folder / "record.json").read_text())["scores"]
    (found,) = [one for one in scores if (one["benchmark"], one["metric"]) == ("generation_length", "words")]
    assert (found["n"], found["value"]) == (3 * len(PROMPTS), pytest.approx(sum(lengths) / len(lengths)))
