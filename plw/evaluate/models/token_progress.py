"""A word a second while a batch of answers is written: a batch of long ones takes minutes on a CPU."""

from collections.abc import Callable
from time import monotonic
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria

EVERY_S = 1.0


class TokenProgress(StoppingCriteria):
    """Asked by transformers' ``generate`` after each token whether to stop; says how far the batch is, and never stops.

    Args:
        say: told a few words.
        most: tokens of one at most.
    """

    def __init__(self, say: Callable[[str], None], most: int) -> None:
        self._say, self._most = say, most
        self._tokens, self._said = 0, monotonic()

    def __call__(self, input_ids: Tensor, *_: Any, **__: Any) -> Tensor:
        """False for each of the rows [rows]."""
        self._tokens += 1
        if (now := monotonic()) - self._said >= EVERY_S:
            self._said = now
            self._say(f"token {self._tokens} of {self._most} at most")
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
