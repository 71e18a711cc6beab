"""What evaluation needs of a model, whichever engine carries it, and what it gets back."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One answer."""

    text: str
    """The answer without special tokens and surrounding space."""
    tokens: int
    """Generated tokens, the closing end-of-sequence token not counted."""
    finished: bool
    """The model ended the answer itself; otherwise it was cut at the token limit."""
    prompt_tokens_cut: int = 0
    """Tokens cut from the left (BOS first) of a prompt that, with the answer, was longer than the model's context."""


class HarnessModel(Protocol):
    """A model that lm-eval can ask."""

    @property
    def context_length(self) -> int:
        """Tokens that the model can attend to, prompt and answer together."""
        ...

    def for_harness(self, batch_size: int) -> Any:
        """An ``lm_eval.api.model.LM`` around the model."""
        ...
