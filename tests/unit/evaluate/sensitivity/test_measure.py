"""Sensitivity of a small model: likelihoods beside a plain loop, no pair computed twice, wordings that differ."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plw.config.evaluation import SensitivityConfig
from plw.errors import UserError
from plw.evaluate.models.hf import EvalModel
from plw.evaluate.models.likelihood import greedy_responses, log_likelihoods
from plw.evaluate.sensitivity import posix_index
from plw.evaluate.sensitivity.measure import measure_sensitivity, sensitivity_scores
from plw.evaluate.sensitivity.variants import load_wordings, make_variants

WORDINGS = [
    ["How do you cut rope?", "How do you ctu rope?", "Please tell me how you cut rope with a knife"],
    ["Who lives there?", "who lives there"],
]
COUNTS = {"spelling": 2, "rewording": 1, "format": 1}


def alone(loaded: EvalModel, prompt: tuple[int, ...], response: tuple[int, ...]) -> float:
    """One pair, without padding or a batch."""
    with torch.inference_mode():
        logit_TV = loaded.model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1].double()
    return float(logit_TV.log_softmax(dim=-1).gather(1, torch.tensor(response)[:, None]).sum())


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_the_index_is_that_of_one_pair_at_a_time(loaded: EvalModel, batch_size: int) -> None:
    found = measure_sensitivity(loaded, WORDINGS, max_new_tokens=6, batch_size=batch_size)
    for texts, item in zip(WORDINGS, found, strict=True):
        pairs = greedy_responses(loaded, texts, max_new_tokens=6)
        table = [[alone(loaded, prompt, response) for _, response in pairs] for prompt, _ in pairs]
        assert item.psi == pytest.approx(posix_index(table, [len(response) for _, response in pairs]), rel=1e-4)
        assert item.wordings == len(texts)


def test_no_pair_is_computed_twice(loaded: EvalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 0
    forward = loaded.model.forward

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal rows
        rows += len(named["input_ids"])
        return forward(*arguments, **named)

    pairs = greedy_responses(loaded, ["a", "b", "a"], max_new_tokens=3)
    monkeypatch.setattr(loaded.model, "forward", counted)
    asked = [(prompt, response) for prompt, _ in pairs for _, response in pairs]
    values = log_likelihoods(loaded, asked, batch_size=2)
    assert rows == len(set(asked)) < len(asked)
    assert values[0] == values[2]
    assert log_likelihoods(loaded, [((1,), ())]) == [0.0]


def test_scores_have_an_interval_and_the_released_form(loaded: EvalModel) -> None:
    config = SensitivityConfig(prompts="x", bootstrap_iterations=50)
    found = measure_sensitivity(loaded, WORDINGS, max_new_tokens=4)
    scores = {score.metric: score for score in sensitivity_scores(found, config, "s")}
    assert set(scores) == {"posix", "posix_low", "posix_high", "posix_as_released"}
    assert scores["posix_low"].value <= scores["posix"].value <= scores["posix_high"].value
    assert not any(score.headline for score in scores.values())


@settings(max_examples=50)
@given(text=st.text(alphabet=st.sampled_from("abcdefgh IJ.?{}\n中é"), min_size=1, max_size=60))
def test_wordings_of_any_text_differ_and_are_always_the_same(text: str) -> None:
    made = make_variants(text, COUNTS)
    assert made[0] == text
    assert len(set(made)) == len(made) <= 5
    assert made == make_variants(text, COUNTS)


def test_a_slip_is_in_one_long_word_and_keeps_the_rest() -> None:
    text = "Describe the history of Rome in 12 words."
    for slip in make_variants(text, {"spelling": 4})[1:]:
        changed = [(a, b) for a, b in zip(text.split(), slip.split(), strict=True) if a != b]
        assert len(changed) == 1
        assert len(changed[0][0]) >= 4
        assert changed[0][0][0] == changed[0][1][0]


def test_prompts_from_a_file_with_their_wordings_or_without(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps([{"instruction": "Name three colours.", "input": "warm"}, {"instruction": "Go home."}]))
    (texts, given_input), _ = load_wordings(path, SensitivityConfig(prompts=str(path)))
    assert (texts[0], len(texts), given_input) == ("Name three colours.", 5, "warm")
    assert len(load_wordings(path, SensitivityConfig(prompts=str(path), limit=1))) == 1
    path.write_text(json.dumps([{"variants": ["a", "b"]}]))
    assert load_wordings(path, SensitivityConfig(prompts=str(path))) == [(["a", "b"], "")]
    for rows, words in (
        ([{"variants": ["a"]}], "row 1 has no list of two or more texts in field variants"),
        ([{"variants": ["a", "b"]}, {"instruction": "c"}], "row 2 has no list"),
        ([{"variants": ["a", "a"]}], "two texts in field variants are the same"),
        ([{"instruction": 3}], "no text in field instruction"),
    ):
        path.write_text(json.dumps(rows))
        with pytest.raises(UserError, match=words):
            load_wordings(path, SensitivityConfig(prompts=str(path)))
