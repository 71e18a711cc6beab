"""Schemas of the loss: what each token weighs, what the sum is divided by, and the factor of the model's prediction."""

from dataclasses import dataclass, field, fields

from plw.config.checks import above_zero, at_least, in_range, one_of, short_number
from plw.config.fields import LATER
from plw.errors import UserError

ROLES = ("user", "assistant", "bos", "template", "system", "thinking", "tool")
"""What a token is: the user's words, the assistant's words and their EOS, BOS, what a template puts around them, the
system's words, the assistant's thinking, a tool's answer. Their places here are the numbers in ``role_T``."""
RESPONSE_ROLES = ("assistant", "thinking")
"""Roles whose tokens the model writes; all others are the prompt."""
PROMPT_ROLES = tuple(role for role in ROLES if role not in RESPONSE_ROLES)
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
    def label(self) -> str:
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
class RolesConfig:
    """Weights of single roles, in place of `prompt_weight` or `response_weight`; null leaves a role to these."""

    user: float | None = field(default=None, metadata=LATER)
    """The user's words; of an Alpaca record the instruction and the input."""
    assistant: float | None = field(default=None, metadata=LATER)
    """The assistant's words, and the EOS after them."""
    bos: float | None = field(default=None, metadata=LATER)
    """BOS where something predicts it; at the start of an example nothing does."""
    template: float | None = field(default=None, metadata=LATER)
    """What the template puts around all of these."""
    system: float | None = field(default=None, metadata=LATER)
    """System messages."""
    thinking: float | None = field(default=None, metadata=LATER)
    """What the assistant thinks before it answers."""
    tool: float | None = field(default=None, metadata=LATER)
    """What tools answer."""

    @property
    def given(self) -> dict[str, float]:
        """The roles that have a weight of their own."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The weights of the tokens: coefficient c_t = w_t / (Z n), w_t the weight of the token's role times the data's."""

    prompt_weight: float = 0.0
    """λ_p (the PLW of the PLW paper), in [0, 1]: of all roles but the assistant's."""
    response_weight: float = 1.0
    """λ_r, in [0, 1]: of what the assistant writes."""
    normalizer: str = "nonzero"
    """Z: `nonzero` counts tokens with a weight, `weights` sums the weights, `completion` counts completion tokens."""
    scope: str = "batch"
    """Z over the optimizer step (`batch`), each virtual micro-batch (`micro`), or each example (`example`)."""
    virtual_micro_batch: int = 4
    """Examples in a virtual micro-batch, used by scope `micro` only."""
    roles: RolesConfig = field(default_factory=RolesConfig, metadata=LATER)
    """Weights of single roles."""
    prompt_share: float | None = field(default=None, metadata=LATER)
    """Share of an example's weights that its prompt has, as GoLLIE weighs prompts: the prompt's weights are scaled so
    in each example. Null scales nothing."""
    allow_negative: bool = field(default=False, metadata=LATER)
    """Allow weights below 0, of roles and in the data: what has one is unlearned."""
    factor: FactorConfig = field(default_factory=FactorConfig, metadata=LATER)
    """What multiplies a token's term beside its weight."""

    def __post_init__(self) -> None:
        in_range("loss.prompt_weight", self.prompt_weight, 0, 1)
        in_range("loss.response_weight", self.response_weight, 0, 1)
        # -0.0 is the weight 0, whose cell has one folder.
        for name in ("prompt_weight", "response_weight"):
            object.__setattr__(self, name, abs(getattr(self, name)))
        one_of("loss.normalizer", self.normalizer, NORMALIZERS)
        one_of("loss.scope", self.scope, SCOPES)
        at_least("loss.virtual_micro_batch", self.virtual_micro_batch, 1)
        in_range("loss.prompt_share", self.prompt_share, 0, 0.99)
        for role, weight in self.roles.given.items():
            if weight < 0 and not self.allow_negative:
                raise UserError(
                    f"loss.roles.{role}={short_number(weight)} is below 0; allowed: 0 or more, or any number with "
                    "loss.allow_negative=true"
                )
        # Few data have thinking, so its weight is a loss only where it is asked for.
        certain = [role for role in ROLES if role != "thinking" or role in self.roles.given]
        if not any(self.role_weight(role) for role in certain):
            raise UserError(f"{self.weights_text} leaves no loss; raise one of them above 0")
        if self.allow_negative and (self.normalizer == "weights" or self.prompt_share is not None):
            raise UserError(
                "loss.allow_negative=true does not go with loss.normalizer=weights or loss.prompt_share: a sum of "
                "weights may then be 0 or below; take another normalizer"
            )
        if self.prompt_share is not None and not any(self.role_weight(role) for role in PROMPT_ROLES):
            raise UserError(
                f"loss.prompt_share={short_number(self.prompt_share)} needs a prompt weight above 0 to scale; "
                "loss.prompt_weight=1 is usual"
            )

    @property
    def label(self) -> str:
        """What the loss does beyond the two weights, normalizer and scope, in a few letters; empty for nothing."""
        roles = [f"{role}={short_number(weight)}" for role, weight in self.roles.given.items()]
        share = [] if self.prompt_share is None else [f"share={short_number(self.prompt_share)}"]
        return " ".join([*roles, *share, *filter(None, [self.factor.label])])

    @property
    def weights_text(self) -> str:
        """The weights as a command line gives them, for messages."""
        two = {"prompt_weight": self.prompt_weight, "response_weight": self.response_weight}
        named = two | {f"roles.{role}": weight for role, weight in self.roles.given.items()}
        return ", ".join(f"loss.{name}={short_number(weight)}" for name, weight in named.items())

    def role_weight(self, role: str) -> float:
        """λ of a role: its own, else that of the prompt or the response."""
        own = self.roles.given.get(role)
        if own is not None:
            return own
        return self.response_weight if role in RESPONSE_ROLES else self.prompt_weight
