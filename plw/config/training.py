"""Schemas of what a cell is trained from and how: model, dataset, template, loss, recipe."""

from dataclasses import dataclass, field
from typing import ClassVar

from plw.config.checks import above_zero, at_least, each_text, given, in_range, one_of
from plw.config.fields import EXECUTION, LATER
from plw.config.optimization import OptimizationConfig
from plw.config.source import DataSource
from plw.errors import UserError

FIELDS = {
    "alpaca": ("instruction", "input", "system", "history", "output"),
    "chat": ("messages",),
    "turns": ("messages",),
    "sharegpt": ("conversations",),
}
"""Form of a record -> its fields."""
WEIGHT_FIELDS = {"alpaca": ("weight", "spans"), "chat": ("weight",), "turns": ("weight",), "sharegpt": ("weight",)}
"""Form of a record -> the fields with weights for the loss, read where `dataset.columns` says where they are."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A base model that transformers can load."""

    name: str
    """Short name; a folder of the run's path and a column of the registry."""
    path: str
    """A local folder, a hub name, or `world:models/<name>` for a base model of the embedded world."""
    revision: str | None = None
    """Hub revision (a commit hash pins it); not used for folders."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Off unless this model's own config says otherwise."""
    pad: str = field(default="new_row", metadata=LATER)
    """What pads where the tokenizer has no padding token: `new_row` (a token [PAD] whose rows of embedding and head are
    the mean of the others, as Stanford Alpaca adds it) or `eos` (the end of a text serves; nothing is added)."""
    parameters: int | None = field(default=None, metadata=EXECUTION)
    """Weights in numbers, for `plw plan`'s costs; null: counted where the model is a folder, else unknown."""

    def __post_init__(self) -> None:
        given("model.name", self.name)
        given("model.path", self.path)
        one_of("model.pad", self.pad, ("new_row", "eos"))
        at_least("model.parameters", self.parameters, 1)


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(DataSource):
    """Instruction data: a file of records, and what is done to them before training."""

    group: ClassVar[str] = "dataset"

    format: str = "alpaca"
    """`alpaca` (instruction, input, output; system and history where rows have them), `chat` (messages), `sharegpt`
    (conversations of from and value) or `turns` (texts of user and assistant in turn)."""
    columns: dict[str, str] = field(default_factory=dict, metadata=LATER)
    """Field -> where a row has it, if not under its own name: `input: context`, `output: chosen[1].content`. `weight`
    and `spans` are read if they are here."""
    sample: int | None = field(default=None, metadata=LATER)
    """Use so many records drawn at random, the same ones for every seed; all when null."""
    inversion: str = "none"
    """`none`; `short` (the PLW paper's AlpacaDataShort); `ratio` (invert just enough to meet `target_ratio`)."""
    target_ratio: float | None = None
    """R_g to reach with `inversion=ratio`: completion tokens / prompt tokens."""
    limit: int | None = None
    """Use the first so many records; all when null."""
    held_out: int = field(default=0, metadata=LATER)
    """Records kept out of training to measure the loss on, the same ones for every seed."""

    def __post_init__(self) -> None:
        self.check_source()
        one_of("dataset.format", self.format, tuple(FIELDS))
        one_of("dataset.inversion", self.inversion, ("none", "short", "ratio"))
        above_zero("dataset.target_ratio", self.target_ratio)
        at_least("dataset.sample", self.sample, 1)
        at_least("dataset.limit", self.limit, 1)
        at_least("dataset.held_out", self.held_out, 0)
        if (self.inversion == "ratio") != (self.target_ratio is not None):
            raise UserError(
                f"dataset.target_ratio={self.target_ratio} does not go with dataset.inversion={self.inversion}; "
                "give a target_ratio with inversion=ratio and with nothing else"
            )
        if self.inversion != "none" and self.format != "alpaca":
            raise UserError(f"dataset.inversion={self.inversion} needs dataset.format=alpaca, found {self.format}")
        each_text("dataset.columns", self.columns)
        for name in self.columns:
            one_of("dataset.columns", name, (*FIELDS[self.format], *WEIGHT_FIELDS[self.format]))


ALPACA_SLOTS = tuple(f"{{{name}}}" for name in FIELDS["alpaca"])


@dataclass(frozen=True, kw_only=True)
class TemplateConfig:
    """How the fields of a record become the text of its prompt and completion."""

    name: str
    """Short name."""
    with_input: str
    """The prompt of a record that has an input; `{instruction}` and `{input}` are filled in."""
    without_input: str
    """The prompt of a record without an input; `{instruction}` is filled in."""
    completion: str = "{output}"
    """The completion; `{output}` is filled in."""
    end_of_sequence: bool = True
    """Append the tokenizer's EOS token to the completion; the end of an answer is a chat template's own matter."""
    eos_marker: str | None = field(default=None, metadata=LATER)
    """Text inside a completion that stands for the tokenizer's EOS token; one at its end and `end_of_sequence` are one
    EOS. Null: none does."""
    strip_prompt_space: bool = field(default=False, metadata=LATER)
    """Leave out one space at the end of the prompt, for a completion that begins with one."""
    turn_separator: str | None = field(default=None, metadata=LATER)
    """Chats are written in the texts above, turn by turn, with this between an answer and the next turn; null: by role
    tags."""
    kind: str = field(default="texts", metadata=LATER)
    """`texts`: the texts above, and plain role tags for chats; `chat`: the tokenizer's own chat template, in which a
    record is one message of the user, made by the texts above, and one of the assistant."""

    def __post_init__(self) -> None:
        one_of("template.kind", self.kind, ("texts", "chat"))
        if self.kind == "chat" and self.end_of_sequence:
            raise UserError(
                "template.end_of_sequence=true does not go with template.kind=chat, whose template ends an answer "
                "itself; set it to false"
            )
        for name, text, slots in (
            ("with_input", self.with_input, ("{instruction}", "{input}")),
            ("without_input", self.without_input, ("{instruction}",)),
            ("completion", self.completion, ("{output}",)),
        ):
            missing = [slot for slot in slots if slot not in text]
            if missing:
                raise UserError(f"template.{name} does not contain {' or '.join(missing)}")
            foreign = [slot for slot in ALPACA_SLOTS if slot in text and slot not in slots]
            if foreign:
                raise UserError(f"template.{name} contains {foreign[0]}; allowed there: {' and '.join(slots)}")
        if self.eos_marker == "":
            raise UserError("template.eos_marker is empty, and so stands everywhere; give a text, or null for none")


@dataclass(frozen=True, kw_only=True)
class RecipeConfig(OptimizationConfig):
    """Everything about fine-tuning but the data, the model and the weights.

    Beside the fields below, which regularise and make LoRA, it has those of :class:`OptimizationConfig`.
    """

    group: ClassVar[str] = "recipe"

    epochs: int = 3
    """Passes over the data."""
    batch_size: int = 128
    """Examples in one optimizer step, over all processes."""
    learning_rate: float = 2e-5
    """Peak learning rate."""
    warmup_ratio: float = 0.03
    """Share of the steps over which the learning rate rises from 0."""
    decay: str = field(default="matrices", metadata=LATER)
    """What weight decay acts on: `matrices` (all but biases and norm weights, as transformers does) or `all`."""
    max_length: int = 512
    """Tokens of an example; the rest is cut off at the end."""
    dropout: float | None = field(default=None, metadata=LATER)
    """Sets every dropout rate that the model's architecture has; null leaves the model's own."""
    label_smoothing: float = field(default=0.0, metadata=LATER)
    """Share of each target's probability that is spread over the vocabulary."""
    minkowski_p: float = field(default=2.0, metadata=LATER)
    """p of the Minkowski penalty, 1 or more."""
    minkowski_weight: float = field(default=0.0, metadata=LATER)
    """Factor of the penalty: the loss gets factor * sum of |weight - base weight| ** p over all trained numbers."""
    lora_rank: int | None = field(default=None, metadata=LATER)
    """Rank of LoRA's update; null trains every weight."""
    lora_alpha: float = field(default=16.0, metadata=LATER)
    """LoRA's update is scaled by alpha / rank."""
    lora_targets: list[str] | None = field(default=None, metadata=LATER)
    """Names of the linear layers that get an update; null: all but the head."""

    def __post_init__(self) -> None:
        self.check_optimization()
        one_of("recipe.decay", self.decay, ("matrices", "all"))
        in_range("recipe.dropout", self.dropout, 0, 1)
        in_range("recipe.label_smoothing", self.label_smoothing, 0, 1)
        at_least("recipe.minkowski_p", self.minkowski_p, 1)
        at_least("recipe.minkowski_weight", self.minkowski_weight, 0)
        at_least("recipe.lora_rank", self.lora_rank, 1)
        above_zero("recipe.lora_alpha", self.lora_alpha)
        self._check_lora_is_read()
        if self.lora_rank is not None and self.minkowski_weight:
            raise UserError(
                f"recipe.minkowski_weight={self.minkowski_weight:g} does not go with recipe.lora_rank="
                f"{self.lora_rank}: the penalty is on the distance of whole weights; set one of the two"
            )

    def _check_lora_is_read(self) -> None:
        if self.lora_targets == []:
            raise UserError("recipe.lora_targets=[] names no layer; leave it out for all linear ones but the head")
        for name, usual in (("lora_alpha", 16.0), ("lora_targets", None)):
            value = getattr(self, name)
            if self.lora_rank is None and value != usual:
                found = f"{value:g}" if isinstance(value, float) else value
                raise UserError(
                    f"recipe.{name}={found} is read with recipe.lora_rank alone, which is not set; "
                    "give a rank, or leave it out"
                )
