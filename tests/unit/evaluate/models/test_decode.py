"""Decoding in stretches: rows that have ended leave, and no answer notices."""

from typing import Any

import pytest

from plw.evaluate.models import decode
from plw.evaluate.models.hf import EvalModel, generate
from plw.testing.families import CACHE_FAMILIES, family

PROMPTS = ["The weather", "Question:", "The market sells salt and the river", "Who lives there?", "a", "b c d"]
HOW: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"temperature": 3.0, "top_p": 0.9, "seed": 3},
    "penalised": {"repetition_penalty": 1.7},
    "beams": {"beams": 2},
}

CASES = [*((name, "greedy") for name in CACHE_FAMILIES), *(("Llama", how) for how in HOW if how != "greedy")]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_answers_are_those_of_one_stretch(
    loaded: EvalModel, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    model = family(loaded, name, PROMPTS)
    monkeypatch.setattr(decode, "STRETCH", 1000)
    expected = generate(model, PROMPTS, max_new_tokens=24, batch_size=6, **HOW[how])
    for stretch in (1, 5):
        monkeypatch.setattr(decode, "STRETCH", stretch)
        assert generate(model, PROMPTS, max_new_tokens=24, batch_size=6, **HOW[how]) == expected
    if how == "greedy":
        assert len({answer.tokens for answer in expected}) > 1


def test_rows_that_have_ended_are_computed_no_more(loaded: EvalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "STRETCH", 3)
    model = family(loaded, "Llama", PROMPTS)
    rows: list[int] = []
    model.model.register_forward_pre_hook(lambda _, __, named: rows.append(len(named["input_ids"])), with_kwargs=True)
    answers = generate(model, PROMPTS, max_new_tokens=24, batch_size=6)

    # An answer of n tokens and its end is gone after the stretch in which it ends.
    steps = [min(24, -(-(answer.tokens + answer.finished) // 3) * 3) for answer in answers]
    assert len(rows) == max(steps)
    assert rows == [sum(step < ends for ends in steps) for step in range(max(steps))]
