"""Schema of the preference stage: what a fine-tuned model is trained on next, and how far it may move."""

from dataclasses import dataclass, field, fields
from typing import ClassVar

from plw.config.checks import above_zero, at_least, each_text, one_of, short_number
from plw.config.fields import LATER
from plw.config.optimization import OptimizationConfig
from plw.config.source import DataSource
from plw.config.training import FIELDS, RecipeConfig
from plw.errors import UserError

NO_PREFERENCE, DPO = "none", "dpo"
REFUSE, DROP = "refuse", "drop"
PAIR_FIELDS = ("chosen", "rejected")
"""The two answers of a pair."""
PAIR_FORMATS = ("alpaca", "chat", "sharegpt")


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(OptimizationConfig, DataSource):
    """Pairs of a preferred and a rejected answer, and the optimisation of the fine-tuned model on them.

    Beside the fields below it has those of :class:`DataSource` and :class:`OptimizationConfig`; weight decay is on
    matrices.

    The recipe is the WIT paper's as far as it says (section 6: rate, batch, warm-up, epochs, decay); beta, the schedule
    and the maximum gradient norm are those of the DPO recipes that its rate comes from (alignment-handbook).
    """

    group: ClassVar[str] = "preference"

    name: str = NO_PREFERENCE
    """Short name; a part of the registry's column `weighting`."""
    path: str = ""
    """A JSON, JSONL, parquet or CSV file; its https address; `hub:<owner>/<name>`; or `world:preferences/pairs.json`
    of the embedded world."""
    method: str = NO_PREFERENCE
    """`none` (a cell ends with its fine-tuning) or `dpo` (direct preference optimization, arXiv 2305.18290)."""
    format: str = "alpaca"
    """`alpaca` (instruction, input, chosen, rejected), `chat` (messages, chosen, rejected) or `sharegpt`
    (conversations, chosen, rejected); of a chat an answer is a message, or a text."""
    columns: dict[str, str] = field(default_factory=dict)
    """Field -> where a row has it, if not under its own name: `instruction: prompt`, `chosen: chosen[1].content`."""
    limit: int | None = None
    """Use the first so many pairs; all when null."""
    unusable: str = REFUSE
    """Pairs longer than `max_length`, or of two equal answers: `refuse` (an error that names the first) or `drop` (they
    are left out and counted in the record)."""
    beta: float = 0.1
    """How strongly the model is held to the fine-tuned one."""
    epochs: int = 2
    """Passes over the pairs."""
    batch_size: int = 32
    """Pairs in one optimizer step, over all processes."""
    learning_rate: float = 5e-7
    """Peak learning rate."""
    warmup_ratio: float = 0.1
    """Share of the steps over which the learning rate rises from 0."""
    max_length: int = 1024
    """Tokens of a prompt and one answer at most."""
    precision: str = "fp32"
    """`fp32`, `bf16-mixed` (fp32 weights, bf16 autocast) or `bf16`, in which a small rate's updates are lost in
    rounding."""
    adam_beta1: float = field(default=0.9, metadata=LATER)
    """AdamW's first moment decay."""
    adam_beta2: float = field(default=0.999, metadata=LATER)
    """AdamW's second moment decay."""
    adam_epsilon: float = field(default=1e-8, metadata=LATER)
    """AdamW's epsilon."""

    def __post_init__(self) -> None:
        one_of("preference.method", self.method, (NO_PREFERENCE, DPO))
        if not self.asked:
            if self.path:
                raise UserError(
                    f"preference.path={self.path} does not go with preference.method=none; set it to dpo, or choose "
                    "preference=file"
                )
            return
        self.check_source()
        one_of("preference.format", self.format, PAIR_FORMATS)
        each_text("preference.columns", self.columns)
        for name in self.columns:
            one_of("preference.columns", name, self.fields)
        at_least("preference.limit", self.limit, 1)
        one_of("preference.unusable", self.unusable, (REFUSE, DROP))
        above_zero("preference.beta", self.beta)
        self.check_optimization()

    @property
    def asked(self) -> bool:
        """Whether a cell has the stage."""
        return self.method != NO_PREFERENCE

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of a row."""
        return (*(name for name in FIELDS[self.format] if name != "output"), *PAIR_FIELDS)

    @property
    def label(self) -> str:
        """The stage in a few letters, as ``dpo world beta=0.1``; empty where there is none."""
        return f"{self.method} {self.name} beta={short_number(self.beta)}" if self.asked else ""

    def recipe(self) -> RecipeConfig:
        """The optimisation as the trainer takes it; a batch counts pairs."""
        return RecipeConfig(**{item.name: getattr(self, item.name) for item in fields(OptimizationConfig)})
