"""transformers' ``Trainer`` with a prompt weight: its arguments, its loop, its checkpoints, and this project's loss."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer, TrainingArguments

from plw.config.loss import FactorConfig
from plw.errors import UserError
from plw.integrations.checks import (
    check_collator,
    check_columns,
    check_factor,
    check_loss_options,
    check_reads_tokens,
    check_training_data,
    named_arguments,
    packs_rows,
)
from plw.integrations.collator import COMPLETION_MASKS, ROW_WEIGHTS, PromptWeightCollator
from plw.integrations.dataset import columns_of, each_dataset
from plw.integrations.head import add_weighted_head
from plw.integrations.logits_loss import divided, prompt_weighted_loss
from plw.integrations.model import check_language_model
from plw.integrations.probe import check_packed_rows
from plw.integrations.weighting import LOSS_WEIGHTS, BatchWeighting

logger = logging.getLogger(__name__)

ROW_COLUMNS = (*COMPLETION_MASKS, ROW_WEIGHTS)
"""Columns that the collator reads and the model does not know."""


class StepNormaliser:
    """For a subclass of ``Trainer``: ``num_items_in_batch`` is what the weights of the whole step are divided by."""

    weighting: BatchWeighting
    _told_empty = False

    def _get_num_items_in_batch(self, batch_samples: list[Mapping[str, Any]], device: torch.device) -> Tensor | None:
        """``step_total`` of the micro-batches of a step, over all processes; None without any."""
        if not batch_samples:
            return None
        total = self.weighting.step_total(batch_samples).to(device)
        trainer: Any = self
        if trainer.args.average_tokens_across_devices and trainer.args.world_size > 1:
            # Each process has its own micro-batches; the loss is then multiplied by the number of processes, since DDP
            # averages gradients.
            total = trainer.accelerator.gather(total).sum()
        if total == 0 and not self._told_empty:
            self._told_empty = True
            logger.warning(
                "an optimizer step has no token with weight at prompt_weight=%g, response_weight=%g, and teaches "
                "nothing; its prompts may fill the maximum length (said once)",
                self.weighting.prompt_weight,
                self.weighting.response_weight,
            )
        shared: int = trainer.get_tp_size() * trainer.get_cp_size() * trainer.get_sp_size()
        return torch.div(total, shared)


class PromptWeightedTrainer(StepNormaliser, Trainer):
    """``Trainer`` whose loss is sum of w_t * CE_t / Z over each optimizer step, as this project's engine computes it.

    With prompt_weight 0 and 1 it is the Trainer's own loss on masked and on unmasked labels, to rounding. Gradient
    accumulation, packed rows and several processes change nothing beyond rounding.

    Args:
        prompt_weight: what a prompt's token counts (λ_p; the PLW of arXiv 2401.13586).
        response_weight: what a completion's token counts (λ_r).
        normalizer: Z: ``nonzero``, ``weights`` or ``completion``; see :class:`plw.config.loss.LossConfig`.
        scope: ``batch`` or ``example``.
        factor: a factor of the model's own prediction, such as ``FactorConfig(kind="power")`` for DFT.
        model, args, data_collator, *more, **kwargs: those of ``Trainer``. Rows have ``input_ids`` and
            ``completion_mask``, ``assistant_masks`` or ``labels``, and perhaps ``token_weights``; ``data_collator`` is
            :class:`PromptWeightCollator` if not given.

    Raises:
        UserError: a weight, normalizer or scope that is not allowed, or a model whose loss cannot be computed so.
    """

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        data_collator: Any = None,
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
        self.factor, self._packs_rows = factor, packs_rows(data_collator)
        options = named_arguments(Trainer, 3, more, kwargs)
        check_factor(factor)
        check_loss_options(args, options)
        check_collator(data_collator, self.weighting)
        _check_kernels(args)
        check_training_data(options.get("train_dataset"))
        for name in ("train_dataset", "eval_dataset"):
            _check_data(data_collator, options.get(name))
        if hasattr(model, "config"):
            check_language_model(model)
        super().__init__(model, args, data_collator, **options)
        if self.args.n_gpu > 1:
            raise UserError(
                "several GPUs in one process (nn.DataParallel) are not supported; start the script with torchrun or "
                "accelerate launch, or make one GPU visible with CUDA_VISIBLE_DEVICES"
            )
        if data_collator is None:
            self.data_collator = PromptWeightCollator(
                pad_token_id=_padding(self), prompt_weight=prompt_weight, response_weight=response_weight
            )
        if self.model_init is None:
            self._prepare_model(self.accelerator.unwrap_model(self.model))
        self.loss_is_scaled_for_ga = True

    def call_model_init(self, trial: Any = None) -> Any:
        """A new model of ``model_init``, with the weighted loss."""
        model = super().call_model_init(trial)
        self._prepare_model(model)
        return model

    def _prepare_model(self, model: Any) -> None:
        add_weighted_head(model)
        if self._packs_rows:
            check_packed_rows(model)

    def evaluate(self, eval_dataset: Any = None, *more: Any, **kwargs: Any) -> Any:
        """The Trainer's own, of data that the collator reads."""
        _check_data(self.data_collator, eval_dataset)
        return super().evaluate(eval_dataset, *more, **kwargs)

    def predict(self, test_dataset: Any, *more: Any, **kwargs: Any) -> Any:
        """The Trainer's own, of data that the collator reads."""
        _check_data(self.data_collator, test_dataset)
        return super().predict(test_dataset, *more, **kwargs)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """A micro-batch's part of the step's loss; of the batch's own where ``num_items_in_batch`` is not given."""
        weight_BT = self.weighting.step_weights(inputs)
        total = self.weighting.step_total([inputs]) if num_items_in_batch is None else num_items_in_batch
        given = {name: value for name, value in inputs.items() if name not in ("labels", LOSS_WEIGHTS)}
        outputs = None
        if return_outputs:
            # Who asks for outputs asks for logits.
            outputs = model(**given)
            loss = prompt_weighted_loss(outputs.logits, inputs["input_ids"], weight_BT, total, factor=self.factor)
        else:
            loss = model(**given, coefficients=divided(weight_BT, total), factor=self.factor).loss
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        return (loss, outputs) if return_outputs else loss

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        columns += [name for name in ROW_COLUMNS if name not in columns]


def _check_data(collator: Any, data: Any) -> None:
    def check(dataset: Any) -> None:
        columns = columns_of(dataset)
        check_columns(collator, columns)
        # A dataset that tokenises a row when it is taken names the columns before that.
        is_made_later = (getattr(dataset, "format", None) or {}).get("type") == "custom"
        if columns is not None and not is_made_later:
            check_reads_tokens(collator, columns)

    each_dataset(data, check)


def _check_kernels(args: TrainingArguments | None) -> None:
    """That Liger's own loss does not take the place of the weighted one when the training starts."""
    given = (getattr(args, "liger_kernel_config", None) or {}).get("fused_linear_cross_entropy", True)
    if getattr(args, "use_liger_kernel", False) and given:
        raise UserError(
            "use_liger_kernel=True replaces the loss; give liger_kernel_config={'fused_linear_cross_entropy': False} "
            "with it"
        )


def _padding(trainer: Trainer) -> int:
    """The id that pads: the tokenizer's, else the model's; 0 where neither has one, since padding is never read."""
    for owner in (trainer.processing_class, getattr(trainer.model, "config", None)):
        found = getattr(owner, "pad_token_id", None)
        if isinstance(found, int):
            return found
    return 0
