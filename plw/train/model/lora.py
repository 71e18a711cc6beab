"""LoRA through peft: small trained updates beside frozen weights, merged into a plain model when it is saved."""

import dataclasses
import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any

from plw.config.study import ExecutionConfig
from plw.config.training import RecipeConfig
from plw.errors import UserError, shortened
from plw.train.model.load import LoadedModel


def check_lora(recipe: RecipeConfig, execution: ExecutionConfig) -> None:
    """Where LoRA is asked for, it can be had, and its processes hold the model as it takes it.

    Raises:
        UserError: peft is not installed, or several processes are to hold a part of the model each.
    """
    if recipe.lora_rank is None:
        return
    if importlib.util.find_spec("peft") is None:
        raise UserError(
            f"recipe.lora_rank={recipe.lora_rank} needs peft, which is not installed; pip install 'plw[lora]'"
        )
    if execution.group_size > 1 and execution.sharding == "fsdp":
        raise UserError(
            f"recipe.lora_rank={recipe.lora_rank} with several processes needs execution.sharding=ddp, found fsdp"
        )


def add_lora(loaded: LoadedModel, recipe: RecipeConfig) -> LoadedModel:
    """Freeze the model and add a trained update of rank ``recipe.lora_rank`` to each target.

    :func:`check_lora` has been called.

    Raises:
        UserError: a target that the model does not have, or the head among the targets (the fused loss reads its
            weight alone).
    """
    from peft import LoraConfig, get_peft_model

    assert recipe.lora_rank is not None
    check_targets(loaded, recipe.lora_targets or [])
    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,  # type: ignore[arg-type]
        target_modules=recipe.lora_targets or "all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            # peft asks transformers by names that transformers is about to give up.
            warnings.simplefilter("ignore", FutureWarning)
            adapter: Any = get_peft_model(loaded.model, config)
    except ValueError as error:
        raise UserError(
            f"recipe.lora_targets={recipe.lora_targets}: {shortened(' '.join(str(error).split()), 160)}; "
            f"linear layers here: {_linear_layers(loaded)}"
        ) from None
    return dataclasses.replace(loaded, adapter=adapter)


def check_targets(loaded: LoadedModel, targets: Sequence[str]) -> None:
    """That every target names linear layers: peft drops a name that fits nothing where another one fits.

    Raises:
        UserError: one names no layer, one that is not linear, or the head; the line has the model's own.
    """
    for target in targets:
        found = [m for name, m in loaded.model.named_modules() if name == target or name.endswith(f".{target}")]
        if not found or not all(hasattr(module, "in_features") for module in found):
            what = "names no layer" if not found else "is no linear layer"
            raise UserError(f"recipe.lora_targets: {target} {what}; linear layers here: {_linear_layers(loaded)}")
        if any(module is loaded.head for module in found):
            # The fused loss reads the head's weight alone.
            raise UserError(f"recipe.lora_targets: {target} names the head, which stays frozen; leave it out")


def _linear_layers(loaded: LoadedModel) -> str:
    """The names that a target may have, for messages."""
    names = {name.split(".")[-1] for name, module in loaded.model.named_modules() if hasattr(module, "in_features")}
    return ", ".join(sorted(names))
