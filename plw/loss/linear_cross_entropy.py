"""Weighted linear cross-entropy: projection to the vocabulary, cross-entropy and coefficients in one operation.

Rows of coefficient 0 never reach the projection, and no [tokens, vocabulary] tensor is ever whole in memory.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 1024
"""Rows that are projected at a time."""


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """The loss, and what its rows cost before any weight."""

    loss: Tensor
    """Scalar, sum of coefficient * cross-entropy, with a gradient."""
    cross_entropy_N: Tensor
    """Unweighted cross-entropy of each computed row, in nats, detached, fp32 (fp64 for fp64 inputs)."""
    computed_N: Tensor
    """Indices into T of the computed rows (coefficient not 0), ascending, int64."""


def weighted_linear_cross_entropy(
    hidden_TD: Tensor,
    weight_VD: Tensor,
    target_T: Tensor,
    coefficient_T: Tensor,
    *,
    bias_V: Tensor | None = None,
    chunk: int = CHUNK,
) -> LossOutput:
    """Sum over rows t of coefficient_t * CE(softmax(weight @ hidden_t + bias), target_t).

    Row t of ``hidden_TD`` predicts ``target_T[t]``: the caller has shifted. Logits, cross-entropy and sums are fp32,
    also where the matrix products are bf16 (under autocast, or bf16 inputs). The gradients are computed in the forward,
    so nothing is kept or computed twice; a second derivative does not exist.

    Args:
        hidden_TD: final hidden states [tokens, width].
        weight_VD: the head's weight [vocabulary, width].
        target_T: int64 token to predict per row; not read where the coefficient is 0.
        coefficient_T: c_t per row.
        bias_V: the head's bias [vocabulary].
        chunk: rows projected at a time; does not change the result but for rounding.
    """
    computed_N = coefficient_T.nonzero().squeeze(1)
    loss, cross_entropy_N = _WeightedLinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_TD, weight_VD, bias_V, target_T[computed_N], coefficient_T[computed_N], computed_N, chunk
    )
    return LossOutput(loss=loss, cross_entropy_N=cross_entropy_N, computed_N=computed_N)


class _WeightedLinearCrossEntropy(torch.autograd.Function):
    """The gradient is linear in the incoming one, so the forward computes it and the backward scales it."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_TD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        coefficient_N: Tensor,
        computed_N: Tensor,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        device = hidden_TD.device.type
        product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_TD.dtype
        total = torch.promote_types(product, torch.float32)
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        head_VD = weight_VD.to(product)
        cross_entropy_N = torch.empty(len(computed_N), dtype=total, device=hidden_TD.device)
        grad_hidden_TD = torch.zeros_like(hidden_TD) if needs_hidden else None
        grad_weight_VD = torch.zeros_like(weight_VD, dtype=total) if needs_weight else None
        grad_bias_V = torch.zeros_like(bias_V, dtype=total) if needs_bias and bias_V is not None else None
        with torch.autocast(device, enabled=False):
            for first in range(0, len(computed_N), chunk):
                part = slice(first, first + chunk)
                row_C, target_C = computed_N[part], target_N[part, None]
                hidden_CD = hidden_TD[row_C].to(product)
                logit_CV = F.linear(hidden_CD, head_VD).to(total)
                if bias_V is not None:
                    logit_CV += bias_V
                norm_C1 = logit_CV.logsumexp(dim=1, keepdim=True)
                cross_entropy_N[part] = (norm_C1 - logit_CV.gather(1, target_C)).squeeze(1)
                if not (needs_hidden or needs_weight or needs_bias):
                    continue
                # d loss / d logits = coefficient * (softmax - one hot of the target), made in place.
                coefficient_C1 = coefficient_N[part, None].to(total)
                grad_CV = logit_CV.sub_(norm_C1).exp_().mul_(coefficient_C1)
                grad_CV.scatter_add_(1, target_C, -coefficient_C1)
                if grad_bias_V is not None:
                    grad_bias_V += grad_CV.sum(dim=0)
                grad_CV = grad_CV.to(product)
                if grad_hidden_TD is not None:
                    grad_hidden_TD[row_C] = (grad_CV @ head_VD).to(hidden_TD.dtype)
                if grad_weight_VD is not None:
                    grad_weight_VD += grad_CV.T @ hidden_CD
        ctx.save_for_backward(
            grad_hidden_TD,
            None if grad_weight_VD is None else grad_weight_VD.to(weight_VD.dtype),
            None if grad_bias_V is None or bias_V is None else grad_bias_V.to(bias_V.dtype),
        )
        ctx.mark_non_differentiable(cross_entropy_N)
        loss = (cross_entropy_N * coefficient_N.to(total)).sum()
        return loss, cross_entropy_N

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if grad is None else grad * grad_loss.to(grad.dtype) for grad in ctx.saved_tensors]
        return (*scaled, None, None, None, None)
