"""How much a step computes, counted in tokens."""

from dataclasses import astuple, dataclass
from typing import Self


@dataclass(frozen=True)
class TokenCounts:
    """What a step computed, padding excluded."""

    tokens: int = 0
    """Tokens that went through the decoder."""
    predictions: int = 0
    """Predictions that went through the head."""
    pairs: int = 0
    """Pairs of a token and one that it sees."""
    last_tokens: int = 0
    """Tokens that went through the whole last layer; of the others it computed keys and values alone."""
    last_pairs: int = 0
    """Pairs in the last layer."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))
