"""A small Llama with random weights beside its tokenizer, for trying the whole pipeline out without a download."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from plw.errors import UserError
from plw.train.model.load import no_progress_bars

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def make_random_llama(
    folder: Path,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    vocabulary: int | None = None,
    max_positions: int = 2048,
    seed: int = 0,
) -> Path:
    """Save a LlamaForCausalLM of random weights and the tokenizer to ``folder``.

    Args:
        folder: made if needed.
        tokenizer: its BOS, EOS and padding ids enter the model's config.
        hidden: width; the feed-forward is 8/3 of it, rounded up.
        layers: transformer blocks.
        heads: attention heads; must divide ``hidden`` into even parts.
        vocabulary: rows of the embedding; the tokenizer's size if None.
        max_positions: longest sequence.
        seed: of the weights.

    Raises:
        UserError: sizes that do not fit together.
    """
    if hidden % (2 * heads):
        raise UserError(f"hidden={hidden} cannot be split into heads={heads} of even width")
    if vocabulary is not None and vocabulary < len(tokenizer):
        raise UserError(f"vocab={vocabulary} is smaller than the tokenizer's {len(tokenizer)} tokens")
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary or len(tokenizer),
        hidden_size=hidden,
        intermediate_size=-(-hidden // 3) * 8,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    with no_progress_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
