"""Schema of how weights are updated: what the fine-tuning and the preference stage both set."""

from dataclasses import dataclass
from typing import ClassVar

from plw.config.checks import above_zero, at_least, in_range, one_of


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """AdamW, its schedule, the batches it sees and the precision they are computed in."""

    group: ClassVar[str]
    """The config's group, by which messages name a field."""
    name: str
    """Short name."""
    epochs: int
    """Passes over the data."""
    batch_size: int
    """Examples, or pairs, in one optimizer step, over all processes."""
    learning_rate: float
    """Peak learning rate."""
    schedule: str = "cosine"
    """`cosine`, `linear` or `constant`, after the warm-up."""
    warmup_ratio: float
    """Share of the steps over which the learning rate rises from 0."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""
    adam_beta1: float = 0.9
    """AdamW's first moment decay."""
    adam_beta2: float = 0.999
    """AdamW's second moment decay."""
    adam_epsilon: float = 1e-8
    """AdamW's epsilon."""
    clip_norm: float | None = 1.0
    """Gradient norm above which gradients are scaled down; null does not clip."""
    max_length: int
    """Tokens of an example at most."""
    precision: str = "fp32"
    """`fp32`, `bf16-mixed` (fp32 weights, bf16 autocast, tf32 for the rest on CUDA) or `bf16` (moments too)."""

    def check_optimization(self) -> None:
        """Each of the fields above is in its range.

        Raises:
            UserError: one is not; the line names the field.
        """
        at_least(f"{self.group}.epochs", self.epochs, 1)
        at_least(f"{self.group}.batch_size", self.batch_size, 1)
        above_zero(f"{self.group}.learning_rate", self.learning_rate)
        one_of(f"{self.group}.schedule", self.schedule, ("cosine", "linear", "constant"))
        in_range(f"{self.group}.warmup_ratio", self.warmup_ratio, 0, 1)
        at_least(f"{self.group}.weight_decay", self.weight_decay, 0)
        in_range(f"{self.group}.adam_beta1", self.adam_beta1, 0, 1)
        in_range(f"{self.group}.adam_beta2", self.adam_beta2, 0, 1)
        above_zero(f"{self.group}.adam_epsilon", self.adam_epsilon)
        above_zero(f"{self.group}.clip_norm", self.clip_norm)
        at_least(f"{self.group}.max_length", self.max_length, 2)
        one_of(f"{self.group}.precision", self.precision, ("fp32", "bf16-mixed", "bf16"))
