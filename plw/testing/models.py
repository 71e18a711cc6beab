"""Small models with random weights, of any architecture, for trying everything out without a download."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SIZES = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "initializer_range": 0.5,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
"""Config fields of a small model; most architectures know most of them. The weights are large, so that it prefers some
tokens clearly."""


def make_model(
    folder: Path,
    architecture: str,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    *,
    head: str = "ForCausalLM",
    seed: int = 0,
    **config: Any,
) -> Path:
    """Save a model of random weights, and its tokenizer, to ``folder``.

    Args:
        folder: made if needed.
        architecture: as transformers' classes begin: ``Llama`` has ``LlamaConfig`` and ``LlamaForCausalLM``.
        tokenizer: saved beside it; its ids of special tokens and its size enter the config. None leaves both out.
        head: as the model's class ends.
        seed: of the weights.
        config: fields of the config.
    """
    import torch
    import transformers

    from plw.train.model.quiet import quiet_transformers

    if tokenizer is not None:
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        config = {"vocab_size": len(tokenizer), **{name: getattr(tokenizer, name) for name in names}, **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, f"{architecture}{head}")(getattr(transformers, f"{architecture}Config")(**config))
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


def make_random_llama(
    folder: Path,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    vocabulary: int | None = None,
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
        seed: of the weights.

    Raises:
        UserError: sizes that do not fit together.
    """
    if hidden % (2 * heads):
        raise UserError(f"hidden={hidden} cannot be split into heads={heads} of even width")
    if vocabulary is not None and vocabulary < len(tokenizer):
        raise UserError(f"vocab={vocabulary} is smaller than the tokenizer's {len(tokenizer)} tokens")
    return make_model(
        folder,
        "Llama",
        tokenizer,
        seed=seed,
        vocab_size=vocabulary or len(tokenizer),
        hidden_size=hidden,
        intermediate_size=-(-hidden // 3) * 8,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=2048,
    )
