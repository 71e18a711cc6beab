"""A loaded model against the data that it is trained on: positions, ids, and frequencies that depend on a batch."""

import logging
from collections.abc import Sequence
from typing import Any

import torch

from plw.data.encoding import EncodedExample
from plw.errors import UserError
from plw.pretrained.context_length import context_length
from plw.train.model.load import LoadedModel

logger = logging.getLogger(__name__)

BATCH_DEPENDENT_ROPE = ("dynamic", "longrope")
"""Kinds of rotary embedding whose frequencies transformers chooses by the longest example of a batch."""
FIXED_ROPE = "fixed"


def check_data_fits(loaded: LoadedModel, examples: Sequence[EncodedExample]) -> None:
    """Compare the examples with what the model has room for.

    Rotary positions have no end, but quality ends where the model was trained; that is said and not refused.

    Raises:
        UserError: an example with more tokens than the model has positions, or with a token that the embedding does
            not have; the line names its file and row.
    """
    check_positions(examples, position_limit(loaded))
    names = _names(examples)
    length, tokens_E = context_length(loaded.model.config), [len(example.token_T) for example in examples]
    if length is not None and max(tokens_E, default=0) > length:
        logger.warning(
            "the longest example, %s, has %d tokens, but the model was made for %d; what it learns beyond them is "
            "worth little: lower recipe.max_length to %d",
            *(names[tokens_E.index(max(tokens_E))], max(tokens_E), length, length),
        )
    rows = loaded.model.get_input_embeddings().num_embeddings
    for name, example in zip(names, examples, strict=True):
        if (highest := int(example.token_T.max(initial=0))) >= rows:
            token = loaded.tokenizer.convert_ids_to_tokens(highest)
            raise UserError(
                f"{name} has the token {token!r} with id {highest}, but the model's embedding ends at id {rows - 1}; "
                "model and tokenizer do not belong together: take model.path's own tokenizer"
            )


def position_limit(loaded: LoadedModel) -> int | None:
    """Tokens of an example at most, where the model looks positions up in a table; None where it works them out."""
    return None if _has_rotary_positions(loaded.model) else context_length(loaded.model.config)


def check_positions(examples: Sequence[EncodedExample], limit: int | None) -> None:
    """Compare the examples' lengths with the positions that a model has.

    Raises:
        UserError: one is longer; the line names its file and row, its tokens, and what to lower.
    """
    for name, example in zip(_names(examples), examples, strict=True):
        if limit is not None and len(example.token_T) > limit:
            raise UserError(
                f"{name} has {len(example.token_T)} tokens, but the model has {limit} positions; lower "
                f"recipe.max_length to {limit}"
            )


def _names(examples: Sequence[EncodedExample]) -> list[str]:
    """Each example as a message calls it."""
    return [example.where or f"row {number}" for number, example in enumerate(examples, start=1)]


def fix_rotary_frequencies(loaded: LoadedModel, longest: int) -> None:
    """Let rotary embeddings whose frequencies depend on the batch be those of the longest example, in every batch.

    Otherwise the token budget, which decides what goes together, would change the result.

    Args:
        loaded: the model.
        longest: tokens of the run's longest example.
    """
    position_1 = torch.tensor([[max(0, longest - 1)]])
    fixed: set[str] = set()
    for module in loaded.model.modules():
        kinds = getattr(module, "rope_type", None)
        by_layer = dict(kinds) if isinstance(kinds, dict) else {None: kinds}
        dynamic = {layer: kind for layer, kind in by_layer.items() if _depends_on_batch(kind)}
        for layer in dynamic:
            # transformers sets the frequencies for a length when it meets it.
            module(torch.zeros(1, 1, 1), position_1, **({} if layer is None else {"layer_type": layer}))
        if dynamic:
            frozen = {layer: FIXED_ROPE if layer in dynamic else kind for layer, kind in by_layer.items()}
            module.rope_type = frozen if isinstance(kinds, dict) else FIXED_ROPE
            fixed |= {str(kind) for kind in dynamic.values()}
    if fixed:
        logger.info("rotary embedding %s: frequencies of %d tokens in every batch", ", ".join(sorted(fixed)), longest)


def _depends_on_batch(kind: Any) -> bool:
    return isinstance(kind, str) and any(word in kind for word in BATCH_DEPENDENT_ROPE)


def _has_rotary_positions(model: Any) -> bool:
    """Whether positions are frequencies, worked out for any place; a table of them ends."""
    return any(name.endswith("inv_freq") for name, _ in model.named_buffers()) or bool(
        getattr(model.config.get_text_config(), "alibi", False)
    )
