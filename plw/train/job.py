"""What a training run is asked for, what it reports, and the job as files for processes that do not share memory."""

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plw.config.loss import LossConfig
from plw.config.plain import from_plain
from plw.config.study import ExecutionConfig
from plw.config.training import RecipeConfig
from plw.data.encoding import EncodedExample
from plw.data.tokenizer import load_tokenizer
from plw.launch.job_folder import job_fields, put_job

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMPLES = ("examples", "held_out")
"""Fields of a job that are written as safetensors."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One cell's fine-tuning: what is trained on what, and where."""

    model: str
    """Folder or hub name of the base model."""
    revision: str | None = None
    trust_remote_code: bool = False
    pad: str = "new_row"
    """What pads where the tokenizer has no padding token; see :class:`plw.config.training.ModelConfig`."""
    tokenizer: "PreTrainedTokenizerBase"
    examples: list[EncodedExample]
    end_tokens: list[int] = field(default_factory=list)
    """Tokens that the template puts after an answer; the trained model stops at them, as at its own."""
    held_out: list[EncodedExample] = field(default_factory=list)
    """Examples that the loss is measured on and nothing is learned from."""
    loss: LossConfig
    recipe: RecipeConfig
    beta: float | None = None
    """Of DPO, whose examples are chosen and rejected of each pair in turn; the base model is then the frozen one too.
    None: the weighted loss of single examples."""
    seed: int
    """Decides the order of the examples, dropout, and the first LoRA weights."""
    folder: Path
    """The stage's folder; gets ``model/``, ``log.jsonl`` and, while training, ``checkpoints/``."""
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    """Device, layout, processes, checkpoints: where and how fast."""


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
    layout: str
    """``padded``, ``packed`` or ``prefix``."""
    parameters: int
    """Of the model as it is trained, a tied one once."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for a record."""
        return asdict(self)


def write_job(job: TrainingJob, folder: Path, *, owner: int) -> None:
    """Write the job to ``folder``; the JSON comes last, so that its presence means all is there.

    Args:
        job: what to do.
        folder: made if needed.
        owner: process that holds the claim; workers end when it does.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name in EXAMPLES:
        save_file(_columns(getattr(job, name)), folder / f"{name}.safetensors")
    job.tokenizer.save_pretrained(folder / "tokenizer")
    others = {item.name for item in dataclasses.fields(job)} - {*EXAMPLES, "tokenizer", "loss", "recipe", "execution"}
    plain = {name: getattr(job, name) for name in sorted(others)} | {"folder": str(job.folder.absolute())}
    plain |= {name: asdict(getattr(job, name)) for name in ("loss", "recipe", "execution")}
    put_job(plain, folder, owner=owner)


def read_job(folder: Path) -> TrainingJob:
    """The job as it was written."""
    from safetensors.numpy import load_file

    plain = job_fields(folder)
    plain |= {
        "folder": Path(plain["folder"]),
        "tokenizer": load_tokenizer(folder / "tokenizer"),
        "loss": from_plain(LossConfig, plain["loss"]),
        "recipe": from_plain(RecipeConfig, plain["recipe"]),
        "execution": from_plain(ExecutionConfig, plain["execution"]),
        **{name: _examples(load_file(folder / f"{name}.safetensors")) for name in EXAMPLES},
    }
    return TrainingJob(**plain)


def _columns(examples: Sequence[EncodedExample]) -> dict[str, np.ndarray]:
    lengths = [len(example.token_T) for example in examples]
    empty_T = EncodedExample(token_T=np.zeros(0, dtype=np.int32), role_T=np.zeros(0, dtype=np.uint8))
    return {
        "token_T": np.concatenate([example.token_T for example in (*examples, empty_T)]),
        "role_T": np.concatenate([example.role_T for example in (*examples, empty_T)]),
        "length_E": np.array(lengths, dtype=np.int64),
        # NaN where the data give an example no weights.
        "weight_T": np.concatenate([_stored_weights(example) for example in (*examples, empty_T)]),
        # Names of files hold no zero byte.
        "where": np.frombuffer("\0".join(example.where for example in examples).encode(), dtype=np.uint8),
    }


def _examples(columns: dict[str, np.ndarray]) -> list[EncodedExample]:
    ends = np.cumsum(columns["length_E"])
    lengths = columns["length_E"]
    where = columns["where"].tobytes().decode().split("\0")[: len(lengths)]
    parts = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    return [
        EncodedExample(
            token_T=columns["token_T"][part],
            role_T=columns["role_T"][part],
            weight_T=None if np.isnan(columns["weight_T"][part]).all() else columns["weight_T"][part],
            where=place,
        )
        for part, place in zip(parts, where, strict=True)
    ]


def _stored_weights(example: EncodedExample) -> np.ndarray:
    return np.full(len(example.token_T), np.nan) if example.weight_T is None else example.weight_T
