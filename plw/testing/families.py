"""Families of models that differ in what they keep of the tokens they have read, with answers of many lengths."""

from collections.abc import Sequence
from typing import Any

import torch

from plw.evaluate.models.hf import EvalModel, generate_tokens
from plw.testing.models import SIZES

CACHE_FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    # Keeps the last tokens alone.
    "Mistral": {"sliding_window": 4},
    "Gemma2": {"sliding_window": 4},
    "GPTNeoX": {},
    # Keeps a state in place of keys and values.
    "Mamba": {},
}
"""By name, config fields beside those of any small model."""


def family(loaded: EvalModel, name: str, prompts: Sequence[str]) -> EvalModel:
    """Random weights, and ends of an answer that come early in some greedy answers to the prompts and late in others.

    Args:
        loaded: A model whose tokenizer the new one takes.
        name: One of ``CACHE_FAMILIES``.
        prompts: Three at least.
    """
    import transformers

    torch.manual_seed(1)
    sizes = SIZES if name != "Mamba" else {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    config = getattr(transformers, f"{name}Config")(
        **sizes | {"vocab_size": loaded.model.config.vocab_size} | CACHE_FAMILIES[name]
    )
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    found = EvalModel(model=model, tokenizer=loaded.tokenizer, device=loaded.device)
    rows = [list(loaded.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    endless = generate_tokens(found, rows, {"max_new_tokens": 24, "num_beams": 1}, [], lambda _: None)
    model.generation_config.eos_token_id = [tokens[4 * row] for row, tokens in enumerate(endless[:3])]
    return found
