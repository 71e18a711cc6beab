"""Schema of the embedded world: how much there is to know, how it is told, and the base models that learn it."""

from dataclasses import dataclass, field

from plw.config.checks import MAX_SEED, above_zero, at_least, in_range, one_of
from plw.errors import UserError

CHECKS = ("facts", "two_hops", "tools", "truths", "translation")
"""What is measured on a base model after pretraining."""


THRESHOLDS = {"facts": 0.75, "two_hops": 0.5, "tools": 0.6, "truths": 0.4, "translation": 0.3}
"""Below what the base models reach (docs/world.md), well above chance: .25, and near 0 for translation."""


@dataclass(frozen=True, kw_only=True)
class BaseModelConfig:
    """The shape of one base model (Llama architecture, tied embeddings)."""

    layers: int
    """Transformer blocks."""
    hidden: int
    """Width of the residual stream; the MLP is 8/3 of it."""
    heads: int = 4
    """Attention heads."""

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads"):
            at_least(f"world base model's {name}", getattr(self, name), 1)
        if self.hidden % (2 * self.heads):
            raise UserError(
                f"world base model's hidden={self.hidden} is not allowed; "
                f"it must be a multiple of 2 x heads={self.heads}"
            )


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """How the base models are trained on the world's corpus."""

    steps: int = 2000
    """Optimizer steps; a number of steps and not of seconds, so that the same config gives the same weights."""
    rows: int = 6
    """Rows of packed documents in a step."""
    row_tokens: int = 128
    """Tokens in a row."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW."""
    warmup_steps: int = 60
    """Steps over which the learning rate rises from 0; it falls to 0 over the last quarter."""
    curriculum: float = 0.2
    """Share of the steps, the first ones, that see translation only; without them it never appears."""
    threads: int = 1
    """CPU threads of each base model. Fixed, because sums in another order end in other last digits."""

    def __post_init__(self) -> None:
        for name in ("steps", "rows", "threads"):
            at_least(f"world.pretraining.{name}", getattr(self, name), 1)
        at_least("world.pretraining.row_tokens", self.row_tokens, 16)
        at_least("world.pretraining.warmup_steps", self.warmup_steps, 0)
        above_zero("world.pretraining.learning_rate", self.learning_rate)
        in_range("world.pretraining.curriculum", self.curriculum, 0, 1)


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """The embedded world. Every field is identity: another value is another world, in another folder."""

    seed: int = 0
    """Seed of everything: names, facts, corpus, instructions, benchmarks, weights."""
    people: int = 48
    """People, each with six attributes; instructions speak of the first half, benchmarks and prompts of the second."""
    cities: int = 10
    """Cities, each with four attributes; every person lives in one."""
    tools: int = 48
    """Tools, each with one use; the later in the list, the rarer in the corpus."""
    myths: int = 36
    """Plants with a true effect and an effect that people falsely believe in."""
    two_hop_share: float = 0.5
    """Share of (person, city attribute) pairs that the corpus states outright; the others must be put together."""
    vocabulary: int = 1536
    """Entries of the byte-level BPE tokenizer."""
    records: int = 320
    """Records of each instruction set."""
    documents: int = 108
    """Documents of each benchmark, as far as the world has enough to ask."""
    long_prompts: list[int] = field(default_factory=lambda: [60, 40])
    """Prompts of the two long-generation benchmarks."""
    bases: int = 3
    """Base models of each architecture. Each has read other documents and begun from other weights: a sample of the
    base models that there could be."""
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    wide: BaseModelConfig = field(default_factory=lambda: BaseModelConfig(layers=2, hidden=128))
    deep: BaseModelConfig = field(default_factory=lambda: BaseModelConfig(layers=3, hidden=96))
    thresholds: dict[str, float] = field(default_factory=lambda: dict(THRESHOLDS))
    """Check -> the least value that each base model must reach after pretraining (`plw/world/checks.py`)."""

    def __post_init__(self) -> None:
        in_range("world.seed", self.seed, 0, MAX_SEED)
        in_range("world.people", self.people, 8, 500)
        in_range("world.cities", self.cities, 4, 60)
        in_range("world.tools", self.tools, 4, 80)
        in_range("world.myths", self.myths, 4, 200)
        at_least("world.vocabulary", self.vocabulary, 300)
        at_least("world.records", self.records, 1)
        at_least("world.documents", self.documents, 1)
        in_range("world.bases", self.bases, 1, 64)
        in_range("world.two_hop_share", self.two_hop_share, 0, 1)
        if len(self.long_prompts) != 2 or min(self.long_prompts) < 1:
            raise UserError(
                f"world.long_prompts={list(self.long_prompts)} is not allowed; give two numbers of 1 or more"
            )
        for name, value in self.thresholds.items():
            one_of("world.thresholds", name, CHECKS)
            in_range(f"world.thresholds.{name}", value, 0, 1)
