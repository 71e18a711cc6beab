"""The loss alone, on logits: for a training loop of one's own, and for evaluation in another's."""

import torch
from torch import Tensor
from torch.nn import functional as F

from plw.config.loss import FactorConfig
from plw.errors import UserError
from plw.integrations.checks import check_factor
from plw.loss.factor import entropy, token_factor


def prompt_weighted_loss(
    logits: Tensor,
    input_ids: Tensor,
    weights: Tensor,
    total: Tensor | float,
    *,
    factor: FactorConfig | None = None,
) -> Tensor:
    """Sum of w_t * g_t * CE_t over the tokens of a batch, divided by ``total``.

    Called for each micro-batch of an optimizer step with the same total, the results add up to the step's loss,
    whatever the micro-batches and processes. Where a wrapper averages gradients over processes (DDP), multiply by
    their number.

    Args:
        logits: [rows, tokens, vocabulary], as a causal language model gives them: unshifted.
        input_ids: int64 [rows, tokens].
        weights: [rows, tokens], w of predicting each token: λ of its role, times a number from the data if there is
            one; 0 for padding and for the first token of each example.
        total: Z of the whole step over all processes, such as the number of its weights that are not 0. 0 gives 0.
        factor: g, of the logits of each token, without a gradient; None: 1.

    Returns:
        Scalar, fp32 or wider.

    Raises:
        UserError: logits or weights of other rows and tokens than ``input_ids``, or a factor that is none.
    """
    check_factor(factor)
    _check_shapes(logits, input_ids, weights)
    weight_T = weights[:, 1:].flatten()
    place_N = weight_T.nonzero().squeeze(1)
    logit_NV = logits[:, :-1].flatten(0, 1)[place_N]
    logit_NV = logit_NV.to(torch.promote_types(logit_NV.dtype, torch.float32))
    ce_N = F.cross_entropy(logit_NV, input_ids[:, 1:].flatten()[place_N], reduction="none")
    weight_N = weight_T[place_N]
    if factor is not None and factor.kind != "none":
        with torch.no_grad():
            entropy_N1 = entropy(logit_NV, factor.top) if factor.kind == "entropy" else None
            weight_N = weight_N * token_factor(factor, ce_N[:, None], entropy_N1).squeeze(1)
    return divided((weight_N * ce_N).sum(), total)


def _check_shapes(logits: Tensor, input_ids: Tensor, weights: Tensor) -> None:
    """A weight for each token, the first of a row too: one that is left out would move all others by a place."""
    for name, given in (("logits", logits), ("input_ids", input_ids), ("weights", weights)):
        if not isinstance(given, Tensor):
            raise UserError(f"{name} is {type(given).__name__}; give a tensor")
    if input_ids.ndim != 2 or weights.shape != input_ids.shape:
        raise UserError(
            f"weights are {list(weights.shape)} and input_ids {list(input_ids.shape)}; both must be [rows, tokens], "
            "with a weight for the first token too"
        )
    if logits.ndim != 3 or logits.shape[:2] != input_ids.shape:
        raise UserError(
            f"logits are {list(logits.shape)} and input_ids {list(input_ids.shape)}; logits must be [rows, tokens, "
            "vocabulary] of the same rows and tokens, unshifted"
        )


def divided(sum_: Tensor, total: Tensor | float) -> Tensor:
    """The quotient; 0 where the total is 0, since nothing then had a weight."""
    scale = torch.as_tensor(total, dtype=torch.float64, device=sum_.device)
    return sum_ * torch.where(scale > 0, 1 / scale, 0.0).to(sum_.dtype)
