"""Which models have a head that the weighted loss can be computed from, looked at before anything is trained."""

from typing import Any

import torch

from plw.errors import UserError

BESIDE_THE_INPUT = ("PREFIX_TUNING", "CARTRIDGE")
"""Prompts of PEFT that are keys and values of each layer: rows and their tokens stay as they are."""
REFUSED_ADAPTERS = {
    "ADALORA": "adds a term to the loss, in each micro-batch or, in TRL, in none",
    "ADAPTION_PROMPT": "calls the model's own forward, which has no weighted loss",
}
"""Adapters of PEFT under which a step's loss would not be the weighted one, and why."""


def base_model(model: Any) -> Any:
    """The transformers model inside a PEFT model; another is the answer itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def backbone(model: Any) -> Any:
    """The module of a transformers model that makes hidden states of all of its inputs.

    The decoder of a model that sees pictures takes text alone, and would leave the pictures out without a word.
    """
    inner = model.base_model
    return model.get_decoder() if inner is model else inner


def check_adapter(config: Any) -> None:
    """That an adapter, of PEFT's config, leaves rows and their loss as they are; None is no adapter.

    Raises:
        UserError: it puts tokens of its own before those of the rows, adds to the loss, or calls the model past the
            weighted loss.
    """
    kind = getattr(getattr(config, "peft_type", None), "value", "")
    if kind in REFUSED_ADAPTERS:
        raise UserError(f"PEFT's {kind} {REFUSED_ADAPTERS[kind]}; use LoRA or prefix tuning")
    if getattr(config, "is_prompt_learning", False) and kind not in BESIDE_THE_INPUT:
        raise UserError(
            f"PEFT's {kind} puts tokens before each row, which then has no weights for them; use LoRA or prefix tuning"
        )


def check_language_model(model: Any) -> None:
    """That each row's tokens are predicted by one matrix: the head of a causal language model.

    Args:
        model: of transformers, or of PEFT.

    Raises:
        UserError: an encoder-decoder, no output embedding, an adapter on the head, or one that ``check_adapter``
            refuses.
    """
    check_adapter(getattr(model, "active_peft_config", None))
    bare = base_model(model)
    name = type(bare).__name__
    if getattr(getattr(bare, "config", None), "is_encoder_decoder", False):
        raise UserError(f"{name} is an encoder-decoder; allowed: causal language models (AutoModelForCausalLM)")
    head = bare.get_output_embeddings() if hasattr(bare, "get_output_embeddings") else None
    if not isinstance(getattr(head, "weight", None), torch.Tensor):
        raise UserError(f"{name} has no head over a vocabulary; allowed: causal language models (AutoModelForCausalLM)")
    # PEFT need not be installed, so its class is known by name.
    if any(kind.__name__ == "BaseTunerLayer" for kind in type(head).__mro__):
        raise UserError(
            "PEFT's target_modules names the head, which stays frozen; leave it out, or train it with modules_to_save "
            "or trainable_token_indices"
        )
