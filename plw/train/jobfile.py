"""A job as files, for processes that do not share this one's memory: JSON, safetensors and the tokenizer's own."""

import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from plw.config.training import LossConfig, RecipeConfig
from plw.data.encoding import EncodedExample
from plw.data.tokenizer import load_tokenizer
from plw.files import read_json, write_json_atomic
from plw.train.job import TrainingJob

JOB = "job.json"
ENDED = "ended"
"""File that says that no worker may start on this launch any more."""
EXAMPLES = ("examples", "held_out")


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
    plain = {item.name: getattr(job, item.name) for item in fields(job) if item.name not in (*EXAMPLES, "tokenizer")}
    plain |= {"loss": asdict(job.loss), "recipe": asdict(job.recipe), "folder": str(job.folder.absolute())}
    put_job(plain, folder, owner=owner)


def put_job(plain: dict[str, Any], folder: Path, *, owner: int) -> None:
    """Write a job's plain fields and who started it; this comes after all other files of the job."""
    write_json_atomic(folder / JOB, {"job": plain, "owner": {"pid": owner, "host": socket.gethostname()}})


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that holds the claim under which a job is done."""

    pid: int
    here: bool
    """Whether that is on this machine."""


def read_owner(folder: Path) -> Owner:
    """Who started the launch."""
    owner = read_json(folder / JOB)["owner"]
    return Owner(pid=owner["pid"], here=owner["host"] == socket.gethostname())


def read_job(folder: Path) -> TrainingJob:
    """The job as it was written."""
    from safetensors.numpy import load_file

    plain = read_json(folder / JOB)["job"]
    plain |= {"loss": LossConfig(**plain["loss"]), "recipe": RecipeConfig(**plain["recipe"])}
    plain |= {"folder": Path(plain["folder"]), "tokenizer": load_tokenizer(folder / "tokenizer")}
    plain |= {name: _examples(load_file(folder / f"{name}.safetensors")) for name in EXAMPLES}
    return TrainingJob(**plain)


def _columns(examples: Sequence[EncodedExample]) -> dict[str, np.ndarray]:
    lengths = [len(example.token_T) for example in examples]
    empty_T = EncodedExample(token_T=np.zeros(0, dtype=np.int32), role_T=np.zeros(0, dtype=np.uint8))
    return {
        "token_T": np.concatenate([example.token_T for example in (*examples, empty_T)]),
        "role_T": np.concatenate([example.role_T for example in (*examples, empty_T)]),
        "length_E": np.array(lengths, dtype=np.int64),
    }


def _examples(columns: dict[str, np.ndarray]) -> list[EncodedExample]:
    ends = np.cumsum(columns["length_E"])
    return [
        EncodedExample(token_T=columns["token_T"][end - length : end], role_T=columns["role_T"][end - length : end])
        for end, length in zip(ends, columns["length_E"], strict=True)
    ]
