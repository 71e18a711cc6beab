"""A trainer's batches and their weights: what each token counts, and what an optimizer step's sum is divided by.

The words are those of :class:`plw.config.loss.LossConfig`: c_t = w_t / (Z n), so that a step means the same in every
trainer, however many micro-batches and processes it has.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plw.config.checks import at_least, one_of
from plw.config.loss import NORMALIZERS
from plw.errors import UserError, named

IGNORED = -100
"""The label of a token that is no completion, as transformers has it."""
LOSS_WEIGHTS = "loss_weights"
"""Key of a batch that has the weights already, from the collator."""
PACKED_BOUNDS = ("cu_seq_lens_q", "seq_idx")
"""Keys of a packed batch from which kernels read where its examples begin."""
SCOPES_HERE = ("batch", "example")
"""Scope ``micro`` is a thing of the order of examples, which a trainer's batches do not tell."""


@dataclass(frozen=True, kw_only=True)
class BatchWeighting:
    """What tokens count, and how a step is normalised.

    Raises:
        UserError: a weight that is no finite number of 0 or more, both 0, or a normalizer or scope that is not known.
    """

    prompt_weight: float = 0.0
    response_weight: float = 1.0
    normalizer: str = "nonzero"
    """Z: ``nonzero`` counts tokens with a weight, ``weights`` sums the weights, ``completion`` counts completions."""
    scope: str = "batch"
    """Z over the optimizer step (``batch``), or over each example, averaged over the step's examples (``example``)."""

    def __post_init__(self) -> None:
        for name, weight in (("prompt_weight", self.prompt_weight), ("response_weight", self.response_weight)):
            if weight is None or weight == math.inf:
                raise UserError(f"{name}={weight} is no finite number; allowed: 0 or more")
            at_least(name, weight, 0)
        one_of("normalizer", self.normalizer, NORMALIZERS)
        one_of("scope", self.scope, SCOPES_HERE)
        if self.prompt_weight == self.response_weight == 0:
            raise UserError("prompt_weight=0 with response_weight=0 leaves no loss; raise one of them above 0")

    def token_weights(self, batch: Mapping[str, Any]) -> Tensor:
        """What predicting each token counts, fp32 [rows, tokens]; 0 for padding and for the first token of an example.

        Args:
            batch: ``input_ids``, ``labels`` (``IGNORED`` where no completion), and ``attention_mask`` for padded rows
                or ``position_ids`` for packed ones; or ``loss_weights``, which then are the answer.
        """
        if LOSS_WEIGHTS in batch:
            weight_BT: Tensor = batch[LOSS_WEIGHTS]
            return weight_BT
        if batch.get("labels") is None:
            raise UserError(
                f"a batch has no labels and no {LOSS_WEIGHTS} (fields found: {named(batch)}); give a collator that "
                "keeps the labels of the data, or a PromptWeightCollator"
            )
        is_completion_BT = batch["labels"] != IGNORED
        weight_BT = torch.where(is_completion_BT, self.response_weight, self.prompt_weight)
        return torch.where(is_predicted(batch), weight_BT, 0.0).float()

    def step_weights(self, batch: Mapping[str, Any]) -> Tensor:
        """The weights as they are to be divided by ``step_total``: with scope ``example`` each by its example's Z."""
        weight_BT = self.token_weights(batch)
        if self.scope == "batch":
            return weight_BT
        example_BT = example_numbers(batch)
        z_E = torch.zeros(int(example_BT.max()) + 1, dtype=torch.float64, device=weight_BT.device)
        z_E.index_add_(0, example_BT.flatten(), self._counted(batch, weight_BT).flatten())
        z_BT = z_E[example_BT]
        return torch.where(z_BT > 0, weight_BT / z_BT, 0.0).float()

    def step_total(self, batches: Sequence[Mapping[str, Any]]) -> Tensor:
        """What a step of these micro-batches is divided by, float64: Z, or with scope ``example`` the examples.

        Raises:
            UserError: labels that are other tokens than those of ``input_ids``.
        """
        for batch in batches:
            _check_targets(batch)
        if self.scope == "example":
            return torch.stack([first_tokens(batch).sum().double() for batch in batches]).sum()
        return torch.stack([self._counted(batch, self.token_weights(batch)).sum() for batch in batches]).sum()

    def _counted(self, batch: Mapping[str, Any], weight_BT: Tensor) -> Tensor:
        """What each token adds to Z, float64."""
        if self.normalizer == "weights":
            return weight_BT.double()
        if self.normalizer == "completion":
            label_BT: Tensor = batch["labels"]
            return ((label_BT != IGNORED) & is_predicted(batch)).double()
        return (weight_BT != 0).double()


def _check_targets(batch: Mapping[str, Any]) -> None:
    """That labels are the row's own tokens where they are no ``IGNORED``; the collator has looked at its own."""
    label_BT = batch.get("labels")
    if LOSS_WEIGHTS in batch or label_BT is None:
        return
    other_BT = (label_BT != IGNORED) & (label_BT != batch["input_ids"])
    if other_BT.any():
        row, token = other_BT.nonzero()[0].tolist()
        raise UserError(
            f"a batch's labels have {int(label_BT[row, token])} in row {row} at token {token}, where input_ids have "
            f"{int(batch['input_ids'][row, token])}; allowed: that token, not shifted, or {IGNORED}"
        )


def is_token(batch: Mapping[str, Any]) -> Tensor:
    """Which places hold a token and no padding, bool [rows, tokens]."""
    mask_BT = batch.get("attention_mask")
    if mask_BT is None:
        return torch.ones_like(batch["input_ids"], dtype=torch.bool)
    if mask_BT.ndim != 2:
        raise UserError(f"attention_mask has {mask_BT.ndim} axes; give one of [rows, tokens], or position_ids alone")
    there_BT: Tensor = mask_BT.bool()
    return there_BT


def first_tokens(batch: Mapping[str, Any]) -> Tensor:
    """Where an example begins, bool [rows, tokens]; nothing in its own example predicts that token."""
    there_BT = is_token(batch)
    first_BT = there_BT & (there_BT.cumsum(dim=1) == 1)
    position_BT = batch.get("position_ids")
    if position_BT is None:
        bounds = [name for name in PACKED_BOUNDS if batch.get(name) is not None]
        if bounds:
            raise UserError(
                f"a batch has {named(bounds)} but no position_ids, which say where its examples begin; give a collator "
                "that returns them (return_position_ids=True)"
            )
        return first_BT
    if position_BT.ndim != 2:
        raise UserError(f"position_ids has {position_BT.ndim} axes; allowed: one of [rows, tokens], or none")
    start_BT: Tensor = first_BT | (there_BT & (position_BT == 0))
    return start_BT


def is_predicted(batch: Mapping[str, Any]) -> Tensor:
    """Which tokens the one before them predicts, bool [rows, tokens]."""
    return is_token(batch) & ~first_tokens(batch)


def example_numbers(batch: Mapping[str, Any]) -> Tensor:
    """The example that each place belongs to, int64 [rows, tokens], from 0 through all rows; padding goes along."""
    start_BT = first_tokens(batch)
    number_BT = (start_BT.flatten().cumsum(dim=0) - 1).clamp(min=0)
    return number_BT.view_as(start_BT)
