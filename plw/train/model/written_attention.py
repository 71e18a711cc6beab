"""Causal attention of short examples in bf16 on a CPU, its gradient written out.

torch's kernel for that is made for long rows; for short ones it takes up to three times as long as the same by plain
products (docs/benchmarks.md).
"""

from typing import Any

import torch
from torch import Tensor

MAX_KEYS = 512
"""Keys up to which it is the faster one; the scores of all heads are in memory at once."""


def serves(query: Tensor, key: Tensor) -> bool:
    """Whether these are attended to faster here than by torch's kernel."""
    return key.shape[2] <= MAX_KEYS and serves_on(query.device, query.dtype)


def serves_on(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether short examples are, on this device in this type."""
    return device.type == "cpu" and dtype == torch.bfloat16


def causal_attention(query_BHTD: Tensor, key_BGSD: Tensor, value_BGSD: Tensor, scaling: float | None = None) -> Tensor:
    """Attention of each row's last T tokens to all S of its tokens; [rows, heads, T, head width].

    Scores and softmax are fp32, the rest is bf16: taken together, output and gradients come as near to exact ones as
    those of torch's kernel. The weights are kept for the backward pass, in bf16: for examples of a few hundred tokens
    that is a fiftieth of what training holds, and making them again would be two fifths of the backward pass
    (docs/benchmarks.md).

    Args:
        query_BHTD: [rows, heads, T, head width], bf16; any type will do.
        key_BGSD: the same of S tokens, with as many heads or fewer (grouped).
        value_BGSD: as the keys.
        scaling: factor of the products; 1 / sqrt(head width) if None.
    """
    scale = query_BHTD.shape[3] ** -0.5 if scaling is None else scaling
    output: Tensor = _CausalAttention.apply(query_BHTD, key_BGSD, value_BGSD, scale)  # type: ignore[no-untyped-call]
    return output


class _CausalAttention(torch.autograd.Function):
    """The heads that share a key are rows of one product: [rows * groups, heads of a group * T, head width]."""

    @staticmethod
    def forward(ctx: Any, query_BHTD: Tensor, key_BGSD: Tensor, value_BGSD: Tensor, scale: float) -> Tensor:
        query_GQD, key_GSD, value_GSD = _joined(query_BHTD, key_BGSD), key_BGSD.flatten(0, 1), value_BGSD.flatten(0, 1)
        weight_GQS = _attention_weights(query_GQD, key_GSD, scale, query_BHTD.shape[2])
        ctx.save_for_backward(query_GQD, key_GSD, value_GSD, weight_GQS)
        ctx.scale, ctx.query_shape, ctx.key_shape = scale, query_BHTD.shape, key_BGSD.shape
        return torch.bmm(weight_GQS, value_GSD).view(query_BHTD.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_BHTD: Tensor) -> tuple[Tensor | None, ...]:
        query_GQD, key_GSD, value_GSD, weight_GQS = ctx.saved_tensors
        grad_GQD = grad_BHTD.reshape(query_GQD.shape)
        grad_value_GSD = torch.bmm(weight_GQS.transpose(1, 2), grad_GQD)
        grad_weight_GQS = torch.bmm(grad_GQD, value_GSD.transpose(1, 2))
        slope_GQS = torch.ops.aten._softmax_backward_data(grad_weight_GQS, weight_GQS, -1, weight_GQS.dtype)
        slope_GQS.mul_(ctx.scale)
        return (
            torch.bmm(slope_GQS, key_GSD).view(ctx.query_shape),
            torch.bmm(slope_GQS.transpose(1, 2), query_GQD).view(ctx.key_shape),
            grad_value_GSD.view(ctx.key_shape),
            None,
        )


def _joined(query_BHTD: Tensor, key_BGSD: Tensor) -> Tensor:
    rows, _, _, width = query_BHTD.shape
    return query_BHTD.reshape(rows * key_BGSD.shape[1], -1, width)


def _attention_weights(query_GQD: Tensor, key_GSD: Tensor, scale: float, tokens: int) -> Tensor:
    """Softmax of the scores of what each query sees, rounded once; ``tokens`` queries of each head in turn."""
    keys = key_GSD.shape[1]
    exact = torch.promote_types(query_GQD.dtype, torch.float32)
    # Autocast would round the scores.
    with torch.autocast("cpu", enabled=False):
        score_GQS = torch.bmm(query_GQD.to(exact), key_GSD.to(exact).transpose(1, 2)).mul_(scale)
    hidden_TS = torch.full((tokens, keys), -torch.inf, dtype=exact).triu_(keys - tokens + 1)
    score_GQS.view(-1, tokens, keys).add_(hidden_TS)
    return torch.softmax(score_GQS, dim=-1, out=score_GQS).to(query_GQD.dtype)
