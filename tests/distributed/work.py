"""What the tests' processes do."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from plw.config.loss import FactorConfig, LossConfig
from plw.config.training import RecipeConfig
from plw.data.encoding import EncodedExample
from plw.data.tokenizer import load_tokenizer
from plw.launch.group import Group
from plw.testing import jobs as testing
from plw.train.batching.plan import plan_training
from plw.train.build import prepare_model
from plw.train.job import TrainingJob
from plw.train.model.parallel import full_tensor
from plw.train.model.weighted import accumulate_gradients, held_out_losses
from plw.train.regularise import MinkowskiPenalty

CPU = torch.device("cpu")
RECIPE = {"name": "r", "epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "weight_decay": 0.01, "max_length": 64}


def make_examples() -> list[EncodedExample]:
    """Eight of unlike lengths; the last one's prompt fills its length."""
    dice = np.random.default_rng(0)
    made = []
    for length, prompt in [(9, 4), (30, 10), (17, 3), (24, 20), (12, 1), (40, 8), (6, 2), (21, 21)]:
        token_T = dice.integers(3, 400, length).astype(np.int32)
        made.append(EncodedExample(token_T=token_T, role_T=(np.arange(length) >= prompt).astype(np.uint8)))
    return made


def with_common_prefix(examples: list[EncodedExample]) -> list[EncodedExample]:
    """The same with one beginning for all, as long as the shortest has tokens."""
    beginning_T = min((example.token_T for example in examples), key=len)
    return [
        EncodedExample(
            token_T=np.concatenate([beginning_T, example.token_T[len(beginning_T) :]]), role_T=example.role_T
        )
        for example in examples
    ]


def make_job(
    model: Path | str, folder: Path | str = ".", recipe: dict[str, Any] | None = None, **fields: Any
) -> TrainingJob:
    """Four steps of four examples, unless the recipe says otherwise."""
    defaults: dict[str, Any] = {
        "examples": make_examples(),
        "loss": LossConfig(prompt_weight=0.1),
        "recipe": RecipeConfig(**{**RECIPE, **(recipe or {})}),  # type: ignore[arg-type]
        "seed": 7,
        "token_budget": 64,
    }
    return testing.training_job(model, load_tokenizer(model), folder, **{**defaults, **fields})


def gradients(group: Group, *, folder: str, cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each case's gradient, written to ``folder`` by the first process, and its losses."""
    return {name: gradient(group, file=f"{folder}/{name}.safetensors", **case) for name, case in cases.items()}


def gradient(
    group: Group,
    *,
    file: str,
    rows: list[int] | None = None,
    weight: float = 0.1,
    common_prefix: bool = False,
    factor: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """The gradient, with a penalty's, of one step over the given rows, all if None."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    loss = LossConfig(prompt_weight=weight, factor=FactorConfig(**(factor or {})))
    job = make_job(loss=loss, **fields)
    prepared = prepare_model(job, CPU, group)
    examples = with_common_prefix(job.examples) if common_prefix else job.examples
    examples = examples if rows is None else [examples[row] for row in rows]
    (step,) = plan_training(
        examples,
        loss,
        RecipeConfig(name="r", epochs=1, batch_size=8),
        seed=0,
        token_budget=64,
        processes=group.size,
        layout=prepared.weighted.layout,
    ).steps
    model = prepared.loaded.model
    penalty = MinkowskiPenalty(model, p=1.5, factor=0.01)
    for parameter in model.parameters():
        # Somewhere off the base weights, the same in every layout.
        parameter.data.mul_(1.01)
    spread = {"device": CPU, "group": group, "wrapper": prepared.wrapper}
    losses, _ = accumulate_gradients(prepared.weighted, examples, step, **spread)  # type: ignore[arg-type]
    held_out = held_out_losses(prepared.weighted, job.examples, token_budget=64, **spread)  # type: ignore[arg-type]
    pulled = penalty.add_gradient(group, sharded=prepared.sharded)
    trained = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    norm = full_tensor(torch.nn.utils.get_total_norm(list(trained.values())))
    tensors = {name: full_tensor(tensor).contiguous() for name, tensor in trained.items()}
    if group.is_rank0:
        save_file(tensors, file)
    return {
        "numbers": [losses.loss, losses.completion_loss, held_out.prompt_loss, pulled, float(norm)],
        "turns": [[len(part) for part in parts] for parts in step.micro_batches],
    }
