"""Decoding in stretches: rows that have ended leave, and no answer notices."""

from typing import Any

import pytest
import torch

from plw.evaluate.models import decode
from plw.evaluate.models.hf import EvalModel, generate, generate_tokens
from plw.testing.models import SIZES

PROMPTS = ["The weather", "Question:", "The market sells salt and the river", "Who lives there?", "a", "b c d"]
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    # Keeps the last tokens alone.
    "Mistral": {"sliding_window": 4},
    "Gemma2": {"sliding_window": 4},
    "GPTNeoX": {},
    # Keeps a state in place of keys and values: rows stay to the end.
    "Mamba": {},
}
HOW: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"temperature": 3.0, "top_p": 0.9, "seed": 3},
    "penalised": {"repetition_penalty": 1.7},
    "beams": {"beams": 2},
}

CASES = [*((name, "greedy") for name in FAMILIES), *(("Llama", how) for how in HOW if how != "greedy")]


def family(loaded: EvalModel, name: str) -> EvalModel:
    """Random weights, and ends of an answer that come early in some greedy answers and late in others."""
    import transformers

    torch.manual_seed(1)
    sizes = SIZES if name != "Mamba" else {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    config = getattr(transformers, f"{name}Config")(
        **sizes | {"vocab_size": loaded.model.config.vocab_size} | FAMILIES[name]
    )
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    found = EvalModel(model=model, tokenizer=loaded.tokenizer, device=loaded.device)
    rows = [list(loaded.tokenizer(prompt)["input_ids"]) for prompt in PROMPTS]
    endless = generate_tokens(found, rows, {"max_new_tokens": 24, "num_beams": 1}, [], lambda _: None)
    model.generation_config.eos_token_id = [tokens[4 * row] for row, tokens in enumerate(endless[:3])]
    return found


@pytest.mark.parametrize(("name", "how"), CASES)
def test_answers_are_those_of_one_stretch(
    loaded: EvalModel, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    model = family(loaded, name)
    monkeypatch.setattr(decode, "STRETCH", 1000)
    expected = generate(model, PROMPTS, max_new_tokens=24, batch_size=6, **HOW[how])
    for stretch in (1, 5):
        monkeypatch.setattr(decode, "STRETCH", stretch)
        assert generate(model, PROMPTS, max_new_tokens=24, batch_size=6, **HOW[how]) == expected
    if how == "greedy":
        assert len({answer.tokens for answer in expected}) > 1


def test_rows_that_have_ended_are_computed_no_more(loaded: EvalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "STRETCH", 3)
    model = family(loaded, "Llama")
    rows: list[int] = []
    model.model.register_forward_pre_hook(lambda _, __, named: rows.append(len(named["input_ids"])), with_kwargs=True)
    answers = generate(model, PROMPTS, max_new_tokens=24, batch_size=6)

    # An answer of n tokens and its end is gone after the stretch in which it ends.
    steps = [min(24, -(-(answer.tokens + answer.finished) // 3) * 3) for answer in answers]
    assert len(rows) == max(steps)
    assert rows == [sum(step < ends for ends in steps) for step in range(max(steps))]
