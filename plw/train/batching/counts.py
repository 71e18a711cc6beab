"""How much a step computes, counted in tokens."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """What a step computed, padding excluded."""

    tokens: int = 0
    """Tokens that went through the decoder."""
    predictions: int = 0
    """Predictions that went through the head."""
    pairs: int = 0
    """Pairs of a token and one that it sees."""

    def __add__(self, other: Self) -> Self:
        return type(self)(
            tokens=self.tokens + other.tokens,
            predictions=self.predictions + other.predictions,
            pairs=self.pairs + other.pairs,
        )
