"""The weighted loss in other trainers: transformers' ``Trainer``, TRL's ``SFTTrainer``, or a loop of one's own.

Everything is imported when it is first asked for, so TRL is needed by ``PromptWeightedSFTTrainer`` alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plw.integrations.collator import PromptWeightCollator
    from plw.integrations.logits_loss import prompt_weighted_loss
    from plw.integrations.sft_trainer import PromptWeightedSFTTrainer
    from plw.integrations.trainer import PromptWeightedTrainer

_MODULES = {
    "PromptWeightCollator": "collator",
    "PromptWeightedSFTTrainer": "sft_trainer",
    "PromptWeightedTrainer": "trainer",
    "prompt_weighted_loss": "logits_loss",
}

__all__ = ["PromptWeightCollator", "PromptWeightedSFTTrainer", "PromptWeightedTrainer", "prompt_weighted_loss"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
