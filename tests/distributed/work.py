"""What the tests' processes do."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from plw.config.training import LossConfig, RecipeConfig
from plw.data.encoding import EncodedExample
from plw.data.tokenizer import load_tokenizer
from plw.train.distribute import Group, whole
from plw.train.gradient import accumulate_gradients
from plw.train.job import TrainingJob
from plw.train.plan import plan_training
from plw.train.prepare import prepare_model
from plw.train.regularise import MinkowskiPenalty


def make_examples() -> list[EncodedExample]:
    """Eight of unlike lengths; the last one's prompt fills its length."""
    dice = np.random.default_rng(0)
    made = []
    for length, prompt in [(9, 4), (30, 10), (17, 3), (24, 20), (12, 1), (40, 8), (6, 2), (21, 21)]:
        token_T = dice.integers(3, 400, length).astype(np.int32)
        made.append(EncodedExample(token_T=token_T, role_T=(np.arange(length) >= prompt).astype(np.uint8)))
    return made


def make_job(model: str, **fields: Any) -> TrainingJob:
    recipe = {"name": "r", "epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "weight_decay": 0.01, "max_length": 64}
    return TrainingJob(
        model=model,
        tokenizer=load_tokenizer(model),
        examples=make_examples(),
        loss=LossConfig(prompt_weight=0.1),
        recipe=RecipeConfig(**{**recipe, **fields.pop("recipe", {})}),
        seed=7,
        folder=Path(fields.pop("folder", ".")),
        token_budget=64,
        **fields,
    )


def gradient(
    group: Group, *, model: str, file: str, count: int = 8, processes: int | None = None, **fields: Any
) -> dict[str, Any]:
    """One step's gradient and losses; the first process writes the gradient to ``file``."""
    from safetensors.torch import save_file

    job, device = make_job(model, **fields), torch.device("cpu")
    prepared = prepare_model(job, device, group)
    recipe = RecipeConfig(name="r", epochs=1, batch_size=8)
    examples = job.examples[:count]
    packed = prepared.weighted.packed
    plan = plan_training(examples, job.loss, recipe, seed=0, token_budget=64, processes=group.size, packed=packed)
    (step,) = plan.steps
    penalty = MinkowskiPenalty(prepared.loaded.model, p=1.5, factor=0.01)
    for parameter in prepared.loaded.model.parameters():
        # Somewhere off the base weights, the same in every layout.
        parameter.data.mul_(1.01)
    losses = accumulate_gradients(
        prepared.weighted, examples, step, device=device, group=group, wrapper=prepared.wrapper
    )
    pulled = penalty.add_gradient(group, sharded=prepared.sharded)
    gradients = {name: whole(p.grad) for name, p in prepared.loaded.model.named_parameters() if p.grad is not None}
    norm = whole(torch.nn.utils.get_total_norm([p.grad for p in prepared.loaded.model.parameters()]))
    if group.first:
        save_file({name: tensor.contiguous() for name, tensor in gradients.items()}, file)
    turns = [[len(part) for part in parts] for parts in step.micro_batches]
    return {"loss": losses.loss, "completion": losses.completion_loss, "penalty": pulled, "norm": float(norm)} | {
        "turns": turns
    }
