"""What the processes of the integrations' test do: one step's gradient in another's trainer."""

from pathlib import Path
from typing import Any

import torch

from plw.config.loss import LossConfig
from plw.config.training import RecipeConfig
from plw.data.tokenizer import load_tokenizer
from plw.integrations import PromptWeightedSFTTrainer, PromptWeightedTrainer
from plw.launch.group import Group
from plw.train.batching.plan import plan_training
from plw.train.model.load import load_model
from plw.train.model.weighted import WeightedModel, accumulate_gradients
from tests.distributed.work import make_examples

FIELDS: dict[str, dict[str, Any]] = {
    "batch": {"prompt_weight": 0.1},
    "example": {"prompt_weight": 0.1, "scope": "example", "normalizer": "weights"},
}


def trainer_gradients(group: Group, *, model: str, folder: str) -> list[str]:
    """Each trainer's gradient of a step of eight examples, over two micro-batches a process, written by the first."""
    from datasets import Dataset
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, TrainerCallback, TrainingArguments
    from trl import SFTConfig

    rows = [
        {"input_ids": example.token_T.tolist(), "completion_mask": example.role_T.tolist()}
        for example in make_examples()[:7]
    ]
    # A completion for the last one too: TRL leaves out examples without.
    rows.append({"input_ids": [5, 6, 7], "completion_mask": [0, 0, 1]})
    common = {
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4 // group.size, "max_steps": 1,
        "learning_rate": 0.0, "max_grad_norm": 0.0, "train_sampling_strategy": "sequential", "save_strategy": "no",
        "report_to": "none", "use_cpu": True, "bf16": False, "disable_tqdm": True, "dataloader_pin_memory": False,
    }  # fmt: skip
    done = []
    for name, fields in FIELDS.items():
        for kind in ("trainer", "sft"):
            out = f"{folder}/{kind}-{name}"
            found: list[torch.Tensor] = []

            class Keep(TrainerCallback):
                def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                    found.append(torch.cat([p.grad.flatten() for p in kwargs["model"].parameters()]))  # noqa: B023

            loaded: Any = AutoModelForCausalLM.from_pretrained(model)
            dataset = Dataset.from_list(rows)
            trainer: Any
            if kind == "trainer":
                arguments = TrainingArguments(output_dir=out, **common)
                trainer = PromptWeightedTrainer(loaded, arguments, train_dataset=dataset, **fields)
            else:
                sft = SFTConfig(output_dir=out, max_length=None, gradient_checkpointing=False, **common)
                trainer = PromptWeightedSFTTrainer(
                    loaded, sft, train_dataset=dataset, processing_class=load_tokenizer(model), **fields
                )
            trainer.add_callback(Keep())
            trainer.train()
            if group.is_rank0:
                save_file({"gradient": found[0]}, f"{out}.safetensors")
            done.append(f"{kind}-{name}")
    return done


def engine_gradient(model: str, name: str) -> torch.Tensor:
    """Our own gradient of the same step."""
    import numpy as np

    from plw.data.encoding import EncodedExample

    examples = [
        *make_examples()[:7],
        EncodedExample(token_T=np.array([5, 6, 7], "i4"), role_T=np.array([0, 0, 1], "u1")),
    ]
    loss = LossConfig(**FIELDS[name])
    loaded = load_model(str(Path(model)), load_tokenizer(model))
    (step,) = plan_training(
        examples, loss, RecipeConfig(name="r", epochs=1, batch_size=8), seed=0, token_budget=64
    ).steps
    accumulate_gradients(WeightedModel(loaded), examples, step, device=torch.device("cpu"))
    return torch.cat([parameter.grad.flatten() for parameter in loaded.model.parameters()])
