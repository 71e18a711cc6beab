"""Training jobs in one line."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.config.loss import LossConfig
from plw.config.study import ExecutionConfig
from plw.config.training import RecipeConfig
from plw.train.job import TrainingJob

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXECUTION_FIELDS = {field.name for field in dataclasses.fields(ExecutionConfig)}


def training_job(
    model: Path | str, tokenizer: "PreTrainedTokenizerBase", folder: Path | str, **fields: Any
) -> TrainingJob:
    """A job on a CPU; ``fields`` are those of :class:`TrainingJob` or of its ``execution``."""
    job = TrainingJob(
        model=str(model),
        tokenizer=tokenizer,
        examples=[],
        loss=LossConfig(),
        recipe=RecipeConfig(name="test"),
        seed=0,
        folder=Path(folder),
        execution=ExecutionConfig(device="cpu"),
    )
    return with_fields(job, **fields)


def with_fields(job: TrainingJob, **fields: Any) -> TrainingJob:
    """The job with other fields, its own or those of its ``execution``."""
    execution = {name: fields.pop(name) for name in EXECUTION_FIELDS & fields.keys()}
    return dataclasses.replace(job, execution=dataclasses.replace(job.execution, **execution), **fields)
