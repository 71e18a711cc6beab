"""Schemas of the loss: what each token weighs, what the sum is divided by, and the factor of the model's prediction."""

from dataclasses import dataclass, field

from plw.config.checks import above_zero, at_least, in_range, one_of, short_number
from plw.config.fields import LATER
from plw.errors import UserError

NORMALIZERS = ("nonzero", "weights", "completion")
SCOPES = ("batch", "micro", "example")
FACTORS: dict[str, tuple[str, ...]] = {
    "none": (),
    "power": ("exponent",),
    "focal": ("exponent",),
    "threshold": ("low", "high"),
    "entropy": ("exponent", "top", "divisor"),
}
"""Kind of factor -> the fields that it reads."""


@dataclass(frozen=True, kw_only=True)
class FactorConfig:
    """A factor g of the model's own prediction of a token; it multiplies the token's term and has no gradient.

    p is the probability that the model gives the token, H the entropy of its prediction, in nats. Z does not count it.
    """

    kind: str = "none"
    """`none`; `power`: p ** exponent (DFT with 1); `focal`: (1 - p) ** exponent; `threshold`: 1 where low <= p <= high,
    else 0; `entropy`: (H / divisor) ** exponent."""
    exponent: float = 1.0
    """Of `power`, `focal` and `entropy`, above 0."""
    low: float = 0.0
    """Of `threshold`: the least p that is learned from."""
    high: float = 1.0
    """Of `threshold`: the greatest p that is learned from."""
    top: int | None = None
    """Of `entropy`: H is that of so many most probable tokens, as if there were no others; null takes all."""
    divisor: float = 1.0
    """Of `entropy`: what H is divided by."""

    def __post_init__(self) -> None:
        one_of("loss.factor.kind", self.kind, tuple(FACTORS))
        above_zero("loss.factor.exponent", self.exponent)
        in_range("loss.factor.low", self.low, 0, 1)
        in_range("loss.factor.high", self.high, self.low, 1)
        at_least("loss.factor.top", self.top, 2)
        above_zero("loss.factor.divisor", self.divisor)
        for item in self.__dataclass_fields__.values():
            unread = item.name not in ("kind", *FACTORS[self.kind])
            if unread and getattr(self, item.name) != item.default:
                raise UserError(
                    f"loss.factor.{item.name}={getattr(self, item.name)} is not read by loss.factor.kind={self.kind}; "
                    f"it reads {', '.join(FACTORS[self.kind]) or 'nothing'}"
                )

    @property
    def words(self) -> str:
        """The factor in a few letters: `dft`, `focal-2`, `threshold-0.1-1`, `entropy-1-20-3`; empty for none."""
        if self.kind == "power" and self.exponent == 1:
            return "dft"
        values = [getattr(self, name) for name in FACTORS[self.kind]]
        return (
            ""
            if self.kind == "none"
            else "-".join([self.kind, *("all" if v is None else short_number(v) for v in values)])
        )


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The weights of the tokens: coefficient c_t = w_t / (Z n), w_t = prompt_weight or response_weight."""

    prompt_weight: float = 0.0
    """λ_p (the PLW of the PLW paper), in [0, 1]."""
    response_weight: float = 1.0
    """λ_r, in [0, 1]."""
    normalizer: str = "nonzero"
    """Z: `nonzero` counts tokens with a weight, `weights` sums the weights, `completion` counts completion tokens."""
    scope: str = "batch"
    """Z over the optimizer step (`batch`), each virtual micro-batch (`micro`), or each example (`example`)."""
    virtual_micro_batch: int = 4
    """Examples in a virtual micro-batch, used by scope `micro` only."""
    factor: FactorConfig = field(default_factory=FactorConfig, metadata=LATER)
    """What multiplies a token's term beside its weight."""

    def __post_init__(self) -> None:
        in_range("loss.prompt_weight", self.prompt_weight, 0, 1)
        in_range("loss.response_weight", self.response_weight, 0, 1)
        one_of("loss.normalizer", self.normalizer, NORMALIZERS)
        one_of("loss.scope", self.scope, SCOPES)
        at_least("loss.virtual_micro_batch", self.virtual_micro_batch, 1)
        if self.prompt_weight == 0 and self.response_weight == 0:
            raise UserError(
                "loss.prompt_weight=0 with loss.response_weight=0 leaves no loss; raise one of them above 0"
            )

    @property
    def words(self) -> str:
        """What the loss does beyond the two weights, normalizer and scope, in a few letters; empty for nothing."""
        return self.factor.words
