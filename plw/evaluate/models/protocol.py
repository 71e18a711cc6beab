"""What evaluation needs of a model, whichever engine carries it, and what it gets back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from plw.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One answer."""

    text: str
    """The answer without its thought and header, special tokens and surrounding space."""
    tokens: int
    """Generated tokens, those of a thought too, the closing end-of-sequence token not counted."""
    finished: bool
    """The model ended the answer itself; otherwise it was cut at the token limit."""
    prompt_tokens_cut: int = 0
    """Tokens cut from the left (BOS first) of a prompt that, with the answer, was longer than the model's context."""


def words_of(tokens: Sequence[int], before_words: int | None) -> list[int]:
    """The tokens of an answer behind its thought and header.

    Args:
        tokens: Of the answer.
        before_words: Stands last before its words; None, or where it does not stand there, all are words.
    """
    places = [place for place, token in enumerate(tokens) if token == before_words]
    return list(tokens[places[-1] + 1 if places else 0 :])


LENGTH_METRICS: dict[str, Callable[[Generation], float]] = {
    "tokens": lambda answer: float(answer.tokens),
    "words": lambda answer: float(len(answer.text.split())),
    "finished": lambda answer: float(answer.finished),
}
"""Metric -> how it measures one answer; words are what white space parts, and 1 is an answer that the model ended."""

ANSWER_LIMIT = "suite.decoding.max_new_tokens"
"""What says how long the answers to a suite's prompts may be."""


def room_for_prompt(context_length: int, max_new_tokens: int, field: str) -> int:
    """Tokens of a prompt at most, so that an answer fits into the context behind it.

    Args:
        context_length: Tokens that the model can attend to.
        max_new_tokens: Of the answer.
        field: What says so, for the message.

    Raises:
        UserError: nothing is left.
    """
    room = context_length - max_new_tokens
    if room < 1:
        raise UserError(
            f"{field}={max_new_tokens} leaves no room for the prompt; the model's context is {context_length} tokens"
        )
    return room


class HarnessModel(Protocol):
    """A model that lm-eval can ask."""

    @property
    def context_length(self) -> int:
        """Tokens that the model can attend to, prompt and answer together."""
        ...

    def for_harness(self, batch_size: int) -> Any:
        """An ``lm_eval.api.model.LM`` around the model."""
        ...
