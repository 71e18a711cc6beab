"""How many tokens a model may have in a sequence."""

from typing import Any

POSITION_FIELDS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length")


def context_length(config: Any) -> int | None:
    """Tokens that a transformers model may have in a sequence, as its config says; None where it says nothing.

    Args:
        config: a transformers ``PreTrainedConfig``; of several nested ones the text's counts.
    """
    text = config.get_text_config()
    for name in POSITION_FIELDS:
        length = getattr(text, name, None)
        if isinstance(length, int) and length > 0:
            return length
    return None
