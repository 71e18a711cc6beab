"""TRL's ``SFTTrainer`` with a prompt weight: one factor on the log-probabilities of its own fused head (TRL 1.16)."""

from typing import Any

import torch
from torch import Tensor
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from plw.config.loss import FactorConfig
from plw.errors import UserError, named
from plw.integrations.trainer import StepNormaliser
from plw.integrations.weighting import IGNORED, LOSS_WEIGHTS, BatchWeighting
from plw.loss.factor import token_factor

TELLING = (("prompt", "completion"), ("completion_mask",), ("assistant_masks",), ("labels",))
"""Columns that say which tokens are the prompt; one of these sets is needed."""


class PromptWeightedSFTTrainer(StepNormaliser, SFTTrainer):
    """``SFTTrainer`` whose loss is sum of w_t * CE_t / Z over each optimizer step.

    TRL prepares the data, packs them and runs its own fused head; its labels of -100 say which tokens are the prompt.
    With prompt_weight 0 and 1 it is TRL's own loss for ``completion_only_loss`` True and False, to rounding. TRL leaves
    out examples whose completion is cut off whole, also where their prompt would count. ``mean_token_accuracy`` and
    ``entropy`` in the log are over all tokens with a weight.

    Args:
        prompt_weight: what a prompt's token counts (λ_p).
        response_weight: what a completion's token counts (λ_r).
        normalizer: Z: ``nonzero``, ``weights`` or ``completion``; see :class:`plw.config.loss.LossConfig`.
        scope: ``batch`` or ``example``.
        factor: a factor of the model's own prediction, such as ``FactorConfig(kind="power")`` for DFT.
        model, args, data_collator, train_dataset, *more, **kwargs: those of ``SFTTrainer``. Its data have a ``prompt``
            and a ``completion``, or tokens with a ``completion_mask``; conversations need ``assistant_only_loss=True``.

    Raises:
        UserError: a weight, normalizer or scope that is not allowed, an entropy factor of the ``top`` tokens, or
            arguments under which TRL does not tell prompt from completion or computes another loss.
    """

    def __init__(
        self,
        model: Any,
        args: SFTConfig | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        *more: Any,
        prompt_weight: float = 0.0,
        response_weight: float = 1.0,
        normalizer: str = "nonzero",
        scope: str = "batch",
        factor: FactorConfig | None = None,
        **kwargs: Any,
    ) -> None:
        self.weighting = BatchWeighting(
            prompt_weight=prompt_weight, response_weight=response_weight, normalizer=normalizer, scope=scope
        )
        self.factor = None if factor is None or factor.kind == "none" else factor
        if self.factor is not None and self.factor.top is not None:
            raise UserError(
                f"factor.top={self.factor.top} is not possible here: TRL's head has the entropy of all tokens alone"
            )
        arguments = SFTConfig(output_dir="trainer_output") if args is None else args
        _check(arguments, train_dataset)
        # TRL takes no mask as a wish for none, unless the data are text.
        arguments.completion_only_loss = True
        super().__init__(model, arguments, data_collator, train_dataset, *more, **kwargs)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """TRL's own, with the log-probability of each token multiplied by its weight."""
        weight_BT = self.weighting.step_weights(inputs)
        total = self.weighting.step_total([inputs])
        if num_items_in_batch is not None and 0 < num_items_in_batch < 1:
            # TRL divides by 1 at least, but a sum of weights may be less.
            weight_BT, num_items_in_batch = weight_BT / num_items_in_batch, torch.ones_like(total)
        scored_BT = torch.where(weight_BT != 0, inputs["input_ids"], IGNORED)
        inputs = {name: value for name, value in inputs.items() if name != LOSS_WEIGHTS} | {"labels": scored_BT}

        def weighted(**given: Any) -> Any:
            outputs = model(**given)
            if given.get("fused_lm_head"):
                scale_BT = weight_BT[:, 1:]
                if num_items_in_batch is None:
                    # TRL then divides by the tokens that were scored.
                    scale_BT = scale_BT * (outputs.label_mask.sum() / total.clamp(min=torch.finfo(torch.float32).tiny))
                outputs.log_probs = outputs.log_probs * scale_BT * self._factor(outputs)
            return outputs

        return super().compute_loss(weighted, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-untyped-call]

    def _factor(self, outputs: Any) -> Tensor | float:
        if self.factor is None:
            return 1.0
        return token_factor(self.factor, -outputs.log_probs.detach(), outputs.entropy.detach())


def _check(arguments: SFTConfig, dataset: Any) -> None:
    """That TRL will know which tokens are the prompt, and compute the loss that is weighted."""
    refused = {
        "completion_only_loss": (False, "leave it out: prompt_weight=1 is that loss"),
        "loss_type": ("dft", 'give factor=FactorConfig(kind="power")'),
    }
    for name, (value, instead) in refused.items():
        if getattr(arguments, name) == value:
            raise UserError(f"{name}={value} does not go with a prompt weight; {instead}")
    if arguments.label_smoothing_factor:
        raise UserError(
            f"label_smoothing_factor={arguments.label_smoothing_factor:g} does not go with a prompt weight; TRL "
            "computes it without its fused head"
        )
    columns = getattr(dataset, "column_names", None)
    if columns is None or any(set(group) <= set(columns) for group in TELLING):
        return
    if "messages" in columns and arguments.assistant_only_loss:
        return
    raise UserError(
        f"nothing in the data tells prompt from completion (columns found: {named(columns)}); give prompt and "
        "completion, input_ids with completion_mask or labels, or messages with assistant_only_loss=True"
    )
