"""The gradient of one optimizer step: the weighted loss of its micro-batches, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plw.data.encoding import EncodedExample
from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy
from plw.train.balance import lay_out
from plw.train.batch import Batch, collate
from plw.train.distribute import ALONE, Group, put_back, synchronised
from plw.train.model import LoadedModel
from plw.train.plan import Step


@dataclass(frozen=True, kw_only=True)
class StepLosses:
    """What a step cost before the update."""

    loss: float
    """Weighted: the number whose gradient is taken."""
    prompt_loss: float | None
    """Unweighted mean cross-entropy of the computed prompt tokens, in nats; None where none was computed."""
    completion_loss: float | None
    """The same of completion tokens."""


class WeightedModel(nn.Module):
    """Decoder and fused loss in one forward, so that what wraps it (DDP, FSDP) sees all of a micro-batch's work."""

    def __init__(
        self, loaded: LoadedModel, *, precision: str = "fp32", packed: bool = False, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.model = loaded.model
        self.loaded = loaded
        self.autocast = precision == "bf16-mixed"
        self.packed = packed
        self.options: dict[str, Any] = {
            **loaded.head_options,
            **({"label_smoothing": label_smoothing} if label_smoothing else {}),
        }

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Loss [], cross-entropy of the computed rows [N], and their indices in the flattened batch [N]."""
        layout = {}
        if batch.bound_E is not None:
            layout = {
                "position_ids": batch.position_BT,
                "cu_seq_lens_q": batch.bound_E,
                "cu_seq_lens_k": batch.bound_E,
                "max_length_q": batch.longest,
                "max_length_k": batch.longest,
            }
        with torch.autocast(batch.token_BT.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            hidden_BTD = self.loaded.decoder(input_ids=batch.token_BT, use_cache=False, **layout).last_hidden_state
            output = weighted_linear_cross_entropy(
                hidden_BTD.flatten(0, 1),
                self.loaded.head_weight_VD,
                batch.target_BT.flatten(),
                batch.coefficient_BT.flatten(),
                bias_V=self.loaded.head_bias_V,
                **self.options,
            )
        return output.loss, output.cross_entropy_N, output.computed_N


def accumulate_gradients(
    weighted: WeightedModel,
    examples: Sequence[EncodedExample],
    step: Step,
    *,
    device: torch.device,
    group: Group = ALONE,
    wrapper: nn.Module | None = None,
) -> StepLosses:
    """Add the gradient of ``step``'s loss to the parameters' ``grad``.

    The coefficients already hold every denominator, so micro-batches simply add up, however they are cut, and so do
    processes.

    Args:
        weighted: the model with its loss.
        examples: the dataset.
        step: what to learn from, and which process learns from what.
        device: where the model is.
        group: the processes that share the step.
        wrapper: what distribution has made of ``weighted``; itself if None.
    """
    mine = step.micro_batches[group.rank]
    # One transfer from the device a step: loss, then sum and count of cross-entropy for prompts and for completions.
    sums_5 = torch.zeros(5, dtype=torch.float64, device=device)
    module = wrapper or weighted
    for turn, micro_batch in enumerate(mine, start=1):
        batch = collate(examples, step, micro_batch.tolist(), weighted.loaded.pad_id, device, packed=weighted.packed)
        with synchronised(module, turn == len(mine)):
            loss, cross_entropy_N, computed_N = module(batch)
            loss.backward()
        sums_5 += _sums(batch, loss, cross_entropy_N, computed_N)
    return _losses(group.sum(sums_5))


@torch.no_grad()
def held_out_losses(
    weighted: WeightedModel,
    examples: Sequence[EncodedExample],
    *,
    token_budget: int,
    device: torch.device,
    group: Group = ALONE,
    wrapper: nn.Module | None = None,
) -> StepLosses:
    """Mean losses on examples that are not learned from, dropout off; every token counts the same."""
    everything = Step(
        epoch=0,
        example_E=np.arange(len(examples)),
        coefficient_ER=np.ones((len(examples), 2)),
        micro_batches=lay_out(
            np.array([len(example.token_T) for example in examples], dtype=np.int64),
            processes=group.size,
            token_budget=token_budget,
            packed=weighted.packed,
        ),
        tokens=0,
    )
    module = wrapper or weighted
    sums_5 = torch.zeros(5, dtype=torch.float64, device=device)
    module.eval()
    for micro_batch in everything.micro_batches[group.rank]:
        batch = collate(
            examples, everything, micro_batch.tolist(), weighted.loaded.pad_id, device, packed=weighted.packed
        )
        sums_5 += _sums(batch, *module(batch))
    module.train()
    put_back(module)
    return _losses(group.sum(sums_5))


def _sums(batch: Batch, loss: Tensor, cross_entropy_N: Tensor, computed_N: Tensor) -> Tensor:
    cross_entropy_N = cross_entropy_N.double()
    completion_N = batch.completion_BT.flatten()[computed_N].double()
    completion_sum, completions = (cross_entropy_N * completion_N).sum(), completion_N.sum()
    prompt_sum, prompts = (cross_entropy_N * (1 - completion_N)).sum(), len(cross_entropy_N) - completions
    return torch.stack([loss.detach().double(), prompt_sum, prompts, completion_sum, completions])


def _losses(sums_5: Tensor) -> StepLosses:
    loss, prompt_sum, prompts, completion_sum, completions = sums_5.tolist()
    return StepLosses(
        loss=loss,
        prompt_loss=prompt_sum / prompts if prompts else None,
        completion_loss=completion_sum / completions if completions else None,
    )
