"""The setting of the training benchmark: one model and two datasets, the same bytes for every contender."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from plw.data.encoding import EncodedExample

VOCABULARY = 32_000
"""Rows of a random model's embedding at least, whatever the tokenizer."""
CASES = {
    "as it is": ("none", 0.1),
    "inverted": ("short", 0.0),
    "as it is at 0": ("none", 0.0),
    "as it is at 1": ("none", 1.0),
}
"""Inversion of the data, and our prompt weight. Peers train at 0 for 0 and at 1 for the rest."""
BATCH = 32
LEARNING_RATE = 2e-5


@dataclass(frozen=True, kw_only=True)
class Case:
    """One dataset and the prompt weight it is trained at."""

    name: str
    examples: "list[EncodedExample]"
    prompt_weight: float
    """Ours. The peers know 0 and 1 alone and take the next: 0 for 0, 1 for the rest."""

    @property
    def peer_masks_prompt(self) -> bool:
        """Whether the peers train at weight 0."""
        return self.prompt_weight == 0

    @property
    def tokens(self) -> int:
        """Tokens of the examples, without padding."""
        return sum(len(example.token_T) for example in self.examples)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how precisely all contenders compute."""

    device: str
    """``cpu`` or ``cuda``."""
    precision: str
    """``fp32`` or ``bf16-mixed``: fp32 weights, bf16 autocast."""
    threads: int
    """Of torch."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of the Llama that is trained; its feed-forward is 8/3 as wide."""

    hidden: int
    layers: int
    heads: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all contenders share."""

    model: Path
    tokenizer: "PreTrainedTokenizerBase"
    cases: list[Case]
    max_length: int
    machine: Machine


def random_model(folder: Path, tokenizer: Path, size: Size) -> "tuple[Path, PreTrainedTokenizerBase]":
    """A model of random weights in ``folder``, around a tokenizer."""
    from plw.data.tokenizer import load_tokenizer
    from plw.testing.models import make_random_llama

    loaded = load_tokenizer(tokenizer)
    if loaded.pad_token is None:
        # A new [PAD] would make LLaMA's vocabulary 32,001.
        loaded.pad_token = loaded.unk_token or loaded.eos_token
    return make_random_llama(folder, loaded, vocabulary=max(VOCABULARY, len(loaded)), **asdict(size)), loaded


def real_model(folder: Path) -> "tuple[Path, PreTrainedTokenizerBase]":
    """A model that is there, with its own tokenizer; where that has no padding token, EOS pads for all contenders."""
    from plw.data.tokenizer import load_tokenizer

    loaded = load_tokenizer(folder)
    if loaded.pad_token is None:
        loaded.pad_token = loaded.eos_token
    return folder, loaded


def make_setting(
    model: Path,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    data: Path,
    cases: Sequence[str],
    examples: int,
    max_length: int,
    machine: Machine,
) -> Setting:
    """Encode the data for each case.

    Args:
        model: the folder of what is trained.
        tokenizer: the model's.
        data: an Alpaca file.
        cases: names in ``CASES``.
        examples: of each case, the first of the file; of the inverted ones the first that keep a completion.
        max_length: tokens of an example, the rest is cut off.
        machine: where it is trained.
    """
    made = []
    for name in cases:
        inversion, prompt_weight = CASES[name]
        encoded = _encoded(data, inversion, tokenizer, max_length)[:examples]
        made.append(Case(name=name, examples=encoded, prompt_weight=prompt_weight))
    return Setting(model=model, tokenizer=tokenizer, cases=made, max_length=max_length, machine=machine)


def _encoded(
    data: Path, inversion: str, tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> "list[EncodedExample]":
    """Examples that have a completion."""
    import yaml

    from plw.config.training import DatasetConfig, TemplateConfig
    from plw.data.encoding import COMPLETION
    from plw.data.prepare import prepare
    from plw.paths import conf_folder

    template = yaml.safe_load((conf_folder() / "template" / "alpaca.yaml").read_text(encoding="utf-8"))
    prepared = prepare(
        DatasetConfig(name="bench", path=str(data), inversion=inversion),
        data,
        TemplateConfig(**template),
        tokenizer,
        max_length=max_length,
        seed=0,
    )
    return [example for example in prepared.encoded if (example.role_T == COMPLETION).any()]
