"""Learning rates and decay groups: those of transformers."""

from pathlib import Path

import pytest
import torch

from plw.config.training import RecipeConfig
from plw.train.optimizer import decayed_names, make_optimizer
from plw.train.schedule import learning_rate


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (1, 1), (10, 0), (37, 5), (20, 20)])
def test_rates_equal_transformers(schedule: str, total: int, warmup: int) -> None:
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    for step in range(total):
        assert learning_rate(schedule, 3e-4, step, total, warmup) == pytest.approx(
            optimizer.param_groups[0]["lr"], abs=1e-18
        )
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_decay_groups_equal_the_trainers(kind: str, tiny_llama: Path) -> None:
    from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, Trainer

    if kind == "llama":
        model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    else:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2, n_positions=16))
    # The method reads nothing but the model, so no whole Trainer is needed.
    theirs = Trainer.get_decay_parameter_names(None, model)  # type: ignore[arg-type]
    named = {name for name, _ in model.named_parameters()}
    assert set(decayed_names(model)) == set(theirs) & named
    groups = make_optimizer(model, RecipeConfig(name="r", weight_decay=0.1)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert sum(len(group["params"]) for group in groups) == len(named)
