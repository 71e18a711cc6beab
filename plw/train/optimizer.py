"""AdamW with weight decay on all parameters, or in the groups of transformers: none for biases and norm weights."""

import re

import torch
from torch import nn

from plw.config.training import RecipeConfig

NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Names, lower case, that transformers' Trainer leaves without weight decay."""


def make_optimizer(model: nn.Module, recipe: RecipeConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters, fused; the learning rate is set before each step."""
    decayed = set(decayed_names(model, recipe.decay))
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for name, p in named if name in decayed], "weight_decay": recipe.weight_decay},
        {"params": [p for name, p in named if name not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        fused=True,
    )


def decayed_names(model: nn.Module, decay: str = "matrices") -> list[str]:
    """Names of the parameters that weight decay acts on; ``decay`` as :class:`RecipeConfig` has it."""
    if decay == "all":
        return [name for name, _ in model.named_parameters()]
    in_layer_norms = {
        f"{module_name}.{name}"
        for module_name, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
    }
    return [
        name for name, _ in model.named_parameters() if name not in in_layer_norms and not NO_DECAY.search(name.lower())
    ]
