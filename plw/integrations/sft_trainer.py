"""TRL's ``SFTTrainer`` with a prompt weight: one factor on the log-probabilities of its own fused head (TRL 1.16)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from plw.config.loss import FactorConfig
from plw.errors import UserError
from plw.integrations.checks import (
    check_collator,
    check_columns,
    check_factor,
    check_loss_options,
    check_rows_left,
    check_training_data,
    named_arguments,
    packs_rows,
)
from plw.integrations.collator import ROW_WEIGHTS
from plw.integrations.dataset import checked_for_trl, columns_of, cut_weights, each_dataset
from plw.integrations.logits_loss import divided
from plw.integrations.model import check_adapter, check_language_model
from plw.integrations.probe import check_fused_head, check_packed_rows
from plw.integrations.trainer import ROW_COLUMNS, StepNormaliser
from plw.integrations.weighting import IGNORED, LOSS_WEIGHTS, BatchWeighting
from plw.loss.factor import token_factor


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
        check_factor(factor)
        self.factor = None if factor is None or factor.kind == "none" else factor
        if self.factor is not None and self.factor.top is not None:
            raise UserError(
                f"factor.top={self.factor.top} is not possible here: TRL's head has the entropy of all tokens alone"
            )
        arguments = _sft_arguments(args)
        options = named_arguments(SFTTrainer, 4, more, kwargs)
        _check(arguments, options)
        _check_packing(arguments, scope)
        check_collator(data_collator, self.weighting)
        if hasattr(model, "config"):
            check_language_model(model)
        check_training_data(train_dataset)
        self._checked = partial(_checked, arguments, data_collator)
        train_dataset = self._checked(train_dataset)
        options["eval_dataset"] = self._checked(options.get("eval_dataset"), evaluated=True)
        # TRL takes no mask as a wish for none, unless the data are text. Of chats with pictures it refuses the wish.
        arguments.completion_only_loss = None if _is_chat_with_pictures(train_dataset) else True
        super().__init__(model, arguments, data_collator, train_dataset, **options)
        check_rows_left(self.train_dataset, f": max_length={arguments.max_length} leaves none a completion's token")
        prepared = self.accelerator.unwrap_model(self.model)
        check_language_model(prepared)
        check_fused_head(prepared)
        if packs_rows(self.data_collator):
            check_packed_rows(prepared)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """TRL's own, of data that tell the prompt."""
        if isinstance(eval_dataset, dict):
            # TRL would prepare each of them twice, and a packed row packed again has lost its bounds.
            metrics: dict[str, float] = {}
            for name, part in eval_dataset.items():
                metrics |= self.evaluate(part, ignore_keys, f"{metric_key_prefix}_{name}")
            return metrics
        found: dict[str, float] = super().evaluate(
            self._checked(eval_dataset, evaluated=True), ignore_keys, metric_key_prefix
        )
        return found

    def predict(self, test_dataset: Any, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test") -> Any:
        """``Trainer``'s own, of data that are prepared as for an evaluation.

        TRL leaves them as they are, so that all of their tokens would be a completion.
        """
        dataset = self._checked(test_dataset, evaluated=True)
        args: Any = self.args
        if not self._skip_prepare_dataset:
            packing = args.packing if args.eval_packing is None else args.eval_packing
            more = (self.processing_class, args, packing, self._formatting_func, "test")
            dataset = self._prepare_dataset(dataset, *more)
        self._reject_skip_prepare_without_labels({"test": dataset}, self.data_collator)
        return super().predict(dataset, ignore_keys, metric_key_prefix)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, packing: bool, *more: Any) -> Any:
        """TRL's own, which cuts rows; their ``token_weights`` are cut with them."""
        columns = columns_of(dataset)
        if args.max_length is not None and (columns is None or ROW_WEIGHTS in columns):
            kept = (
                slice(None, args.max_length) if args.truncation_mode == "keep_start" else slice(-args.max_length, None)
            )
            dataset = dataset.map(partial(cut_weights, kept=kept))
        return super()._prepare_dataset(dataset, processing_class, args, packing, *more)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[no-untyped-call]
        columns: Any = self._signature_columns
        # Labels are made of masks when TRL prepares the data, so only unprepared data keep them.
        more = ROW_COLUMNS if self._skip_prepare_dataset else (ROW_WEIGHTS,)
        columns += [name for name in more if name not in columns]

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """TRL's own, with the log-probability of each token multiplied by its weight."""
        total = self.weighting.step_total([inputs]) if num_items_in_batch is None else num_items_in_batch
        coefficient_BT = divided(self.weighting.step_weights(inputs), total)
        if num_items_in_batch is not None:
            # TRL divides by 1 at least, but a sum of weights may be less.
            num_items_in_batch = torch.ones_like(torch.as_tensor(num_items_in_batch))
        scored_BT = torch.where(coefficient_BT != 0, inputs["input_ids"], IGNORED)
        inputs = {name: value for name, value in inputs.items() if name != LOSS_WEIGHTS} | {"labels": scored_BT}

        def weighted(**given: Any) -> Any:
            outputs = model(**given)
            if given.get("fused_lm_head"):
                scale_BT = coefficient_BT[:, 1:]
                if num_items_in_batch is None:
                    # TRL then divides by the tokens that were scored.
                    scale_BT = scale_BT * outputs.label_mask.sum()
                outputs.log_probs = outputs.log_probs * scale_BT * self._factor(outputs)
            return outputs

        return super().compute_loss(weighted, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-untyped-call]

    def _factor(self, outputs: Any) -> Tensor | float:
        if self.factor is None:
            return 1.0
        return token_factor(self.factor, -outputs.log_probs.detach(), outputs.entropy.detach())


def _sft_arguments(args: Any) -> SFTConfig:
    """TRL's arguments; those of ``Trainer`` become such, as TRL does it itself."""
    if args is None:
        return SFTConfig(output_dir="trainer_output")
    if isinstance(args, SFTConfig) or not isinstance(args, TrainingArguments):
        return args
    # The dict hides the key.
    return SFTConfig(**(args.to_dict() | {"hub_token": args.hub_token}))  # type: ignore[no-untyped-call]


def _check(arguments: Any, options: Mapping[str, Any]) -> None:
    """That TRL computes the loss that is weighted."""
    check_loss_options(arguments, options)
    refused = {
        "completion_only_loss": (False, "leave it out: prompt_weight=1 is that loss"),
        "loss_type": ("dft", 'give factor=FactorConfig(kind="power")'),
    }
    if options.get("formatting_func") is not None:
        raise UserError(
            "formatting_func makes texts, which do not tell prompt from completion; give rows of prompt and completion"
        )
    for name, (value, instead) in refused.items():
        if getattr(arguments, name, None) == value:
            raise UserError(f"{name}={value} does not go with a prompt weight; {instead}")
    check_adapter(options.get("peft_config"))


def _check_packing(arguments: Any, scope: str) -> None:
    """That TRL's rows still have the examples that the loss is of."""
    packs = arguments.packing or bool(arguments.eval_packing)
    flat = _is_flat(arguments)
    if arguments.eval_packing and arguments.packing_strategy != "wrapped" and not flat:
        raise UserError(
            "eval_packing=True without packing and padding_free puts examples into rows whose bounds TRL does not "
            "read; leave eval_packing out, or give padding_free=True"
        )
    if scope != "example":
        return
    if packs and arguments.packing_strategy == "wrapped":
        raise UserError(
            "scope=example does not go with packing_strategy=wrapped, which cuts rows without regard to examples; "
            "allowed: bfd, bfd_split"
        )
    if flat and arguments.pad_to_multiple_of:
        raise UserError(
            f"scope=example does not go with pad_to_multiple_of={arguments.pad_to_multiple_of} in rows without "
            "padding: TRL marks what it adds as examples; leave pad_to_multiple_of out"
        )


def _is_chat_with_pictures(dataset: Any) -> bool:
    columns = set(columns_of(dataset) or ())
    return "messages" in columns and not columns.isdisjoint(("image", "images"))


def _is_flat(arguments: Any) -> bool:
    """Whether TRL's collator puts all examples of a batch into one row."""
    return bool(arguments.padding_free or (arguments.packing and arguments.packing_strategy != "wrapped"))


def _checked(arguments: Any, collator: Any, data: Any, *, evaluated: bool = False) -> Any:
    """A dataset, or a dict of them, of which TRL will know which tokens are the prompt."""
    packed = arguments.packing if not evaluated or arguments.eval_packing is None else arguments.eval_packing

    def checked(dataset: Any) -> Any:
        if collator is not None:
            check_columns(collator, ["labels", *(columns_of(dataset) or ())])
        return checked_for_trl(
            dataset,
            assistant_only=arguments.assistant_only_loss,
            weights_are_read=collator is not None and not packed,
            is_flat=_is_flat(arguments),
        )

    return each_dataset(data, checked)
