"""How many rows' logits may be in memory at once: those of a whole vocabulary at every token are large."""

import torch

SCORES_BYTES = {"cpu": 128 << 20, "cuda": 8 << 30}
"""Of a batch's logits and log-probabilities together; what a chunk of logits and their gradient take in training
(plw/loss/linear_cross_entropy.py)."""
NUMBER_BYTES = 4


def scores_bytes(device: torch.device) -> int:
    """What they may take on a device."""
    return SCORES_BYTES.get(device.type, SCORES_BYTES["cuda"])


def rows_that_fit(vocabulary: int, limit: int, tokens: int) -> int:
    """Rows of so many tokens whose logits and log-probabilities take at most ``limit`` bytes; one at least."""
    return max(1, limit // (2 * NUMBER_BYTES * vocabulary * tokens))
