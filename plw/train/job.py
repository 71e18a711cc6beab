"""What a training run is asked for, and what it reports."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.config.training import LossConfig, RecipeConfig
from plw.data.encoding import EncodedExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODEL = "model"
LOG = "log.jsonl"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One cell's fine-tuning: what is trained on what, and where."""

    model: str
    """Folder or hub name of the base model."""
    revision: str | None = None
    trust_remote_code: bool = False
    tokenizer: "PreTrainedTokenizerBase"
    examples: list[EncodedExample]
    held_out: list[EncodedExample] = field(default_factory=list)
    """Examples that the loss is measured on and nothing is learned from."""
    loss: LossConfig
    recipe: RecipeConfig
    seed: int
    """Decides the order of the examples, dropout, and the first LoRA weights."""
    folder: Path
    """The stage's folder; gets ``model/``, ``log.jsonl`` and, while training, ``checkpoints/``."""
    device: str = "cpu"
    """``auto`` (CUDA where there is one), ``cpu`` or ``cuda``."""
    threads: int = 1
    token_budget: int = 2048
    """Tokens of a micro-batch, padding included; changes the result by rounding alone."""
    layout: str = "auto"
    """``padded``, ``packed``, ``shared``, or ``auto``, which knows what is fastest (``prepare.preferred_layout``)."""
    gradient_checkpointing: bool = False
    compile: bool = False
    evaluate_every: int | None = None
    """Steps between losses on ``held_out``, also taken at the last step."""
    processes: int = 1
    """On this machine."""
    sharding: str = "fsdp"
    """``fsdp`` or ``ddp``, with several processes."""
    nodes: int = 1
    rendezvous: str | None = None
    """``host:port`` where several nodes meet."""
    checkpoint_seconds: float = 300.0
    keep_checkpoints: int = 2


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """What was done."""

    steps: int
    warmup_steps: int
    examples: int
    tokens: int
    """Tokens seen, padding excluded, over all epochs."""
    seconds: float
    """Seconds of training, over all attempts as far as checkpoints know."""
    resumed_from: int
    """Steps that an earlier attempt had done; 0 for a fresh start."""
    empty_units: int
    """Units of the loss that had no token to count (Z = 0) and contributed nothing."""
    layout: str = "padded"
    """``padded``, ``packed`` or ``shared``."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for a record."""
        return asdict(self)
