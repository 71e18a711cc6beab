"""The gradient of one optimizer step: the weighted loss of its micro-batches, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from plw.data.encoding import EncodedExample
from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy
from plw.train.batch import Batch, collate
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


def accumulate_gradients(
    loaded: LoadedModel,
    examples: Sequence[EncodedExample],
    step: Step,
    *,
    device: torch.device,
    precision: str = "fp32",
) -> StepLosses:
    """Add the gradient of ``step``'s loss to the parameters' ``grad``.

    The coefficients already hold every denominator, so micro-batches simply add up, however they are cut.
    """
    # One transfer from the device a step: loss, then sum and count of cross-entropy for prompts and for completions.
    sums_5 = torch.zeros(5, dtype=torch.float64, device=device)
    for micro_batch in step.micro_batches:
        batch = collate(examples, step, micro_batch.tolist(), loaded.tokenizer.pad_token_id, device)
        sums_5 += _backward(loaded, batch, precision)
    loss, prompt_sum, prompts, completion_sum, completions = sums_5.tolist()
    return StepLosses(
        loss=loss,
        prompt_loss=prompt_sum / prompts if prompts else None,
        completion_loss=completion_sum / completions if completions else None,
    )


def _backward(loaded: LoadedModel, batch: Batch, precision: str) -> Tensor:
    device = batch.token_BT.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
        hidden_BTD = loaded.decoder(input_ids=batch.token_BT, use_cache=False).last_hidden_state
        output = weighted_linear_cross_entropy(
            hidden_BTD.flatten(0, 1),
            loaded.head_weight_VD,
            batch.target_BT.flatten(),
            batch.coefficient_BT.flatten(),
            bias_V=loaded.head_bias_V,
            **loaded.head_options,
        )
    output.loss.backward()  # type: ignore[no-untyped-call]
    cross_entropy_N = output.cross_entropy_N.double()
    completion_N = batch.completion_BT.flatten()[output.computed_N].double()
    completion_sum, completions = (cross_entropy_N * completion_N).sum(), completion_N.sum()
    prompt_sum, prompts = (cross_entropy_N * (1 - completion_N)).sum(), len(cross_entropy_N) - completions
    return torch.stack([output.loss.detach().double(), prompt_sum, prompts, completion_sum, completions])
