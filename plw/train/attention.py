"""Attention for packed rows: no token sees another example, whatever the device.

Registered with transformers, which hands it queries, keys and values of one row and the examples' boundaries in it.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PACKED = "plw_packed"
"""Name of the attention in transformers' registry."""

HALVED_TOKENS = 320
"""Tokens of an example from which halving its queries pays on a CPU: a seventh at 384 and 500, a loss at 256."""


def register() -> None:
    """Make the attention known to transformers. It needs no mask: a name without a mask function gets none."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACKED, packed_attention)


def has_varlen_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch's own variable-length attention runs there: CUDA, in 16 bits."""
    return device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)


def packed_attention(
    module: nn.Module,  # noqa: ARG001 - part of the interface
    query_1HTD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each example of one packed row.

    Args:
        module: the attention layer; not read.
        query_1HTD: [1, heads, tokens, head width].
        key_1HTD: the same, with as many heads or fewer (grouped).
        value_1HTD: as the keys.
        attention_mask: None; the boundaries say it all.
        scaling: factor of the products; 1 / sqrt(head width) if None.
        dropout: share of attention weights that are dropped.
        sliding_window: a token sees itself and so many tokens before it, less one; all if None.
        softcap: products s become softcap * tanh(s / softcap).
        cu_seq_lens_q: [examples + 1] int32, where each example starts, and the end.
        max_length_q: tokens of the longest example.

    Returns:
        [1, tokens, heads, head width] and None.
    """
    assert cu_seq_lens_q is not None
    assert max_length_q is not None
    assert attention_mask is None
    device = query_1HTD.device
    if torch.is_autocast_enabled(device.type):
        dtype = torch.get_autocast_dtype(device.type)
        query_1HTD, key_1HTD, value_1HTD = query_1HTD.to(dtype), key_1HTD.to(dtype), value_1HTD.to(dtype)
    window = sliding_window if sliding_window is not None and sliding_window < max_length_q else None
    if has_varlen_kernel(device, query_1HTD.dtype) and dropout == 0 and softcap is None:
        return _varlen(query_1HTD, key_1HTD, value_1HTD, cu_seq_lens_q, max_length_q, scaling, window), None
    bounds = cu_seq_lens_q.tolist()
    rows = [
        _one_example(
            query_1HTD[:, :, first:last],
            key_1HTD[:, :, first:last],
            value_1HTD[:, :, first:last],
            scaling=scaling,
            dropout=dropout,
            window=window,
            softcap=softcap,
        )
        for first, last in pairwise(bounds)
    ]
    return torch.cat(rows, dim=2).transpose(1, 2), None


def _varlen(
    query_1HTD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    bound_E: Tensor,
    longest: int,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    output = varlen_attn(
        query_1HTD[0].transpose(0, 1),
        key_1HTD[0].transpose(0, 1),
        value_1HTD[0].transpose(0, 1),
        bound_E,
        bound_E,
        longest,
        longest,
        scale=scaling,
        # One to the left less than the window, because a token sees itself.
        window_size=(-1, 0) if window is None else (window - 1, 0),
        enable_gqa=query_1HTD.shape[1] != key_1HTD.shape[1],
    )
    assert isinstance(output, Tensor)
    return output[None]


def _one_example(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float | None,
    dropout: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    tokens = query.shape[2]
    groups = query.shape[1] // key.shape[1]
    if softcap is None and (window is None or window >= tokens):
        if query.device.type == "cpu" and tokens >= HALVED_TOKENS and dropout == 0:
            return _causal_halves(query, key, value, scaling=scaling, gqa=groups > 1)
        return F.scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=groups > 1
        )
    seen_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).tril()
    if window is not None:
        seen_TT = seen_TT.triu(1 - window)
    if softcap is None:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=seen_TT, dropout_p=dropout, scale=scaling, enable_gqa=groups > 1
        )
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    product = query @ key.transpose(2, 3) * (query.shape[3] ** -0.5 if scaling is None else scaling)
    product = (torch.tanh(product / softcap) * softcap).masked_fill(~seen_TT, -torch.inf)
    weight = F.dropout(product.float().softmax(dim=-1).to(query.dtype), p=dropout)
    return weight @ value


def _causal_halves(query: Tensor, key: Tensor, value: Tensor, *, scaling: float | None, gqa: bool) -> Tensor:
    """Causal attention in two halves of the queries: torch's CPU kernel computes what a causal mask then hides.

    The first half never meets the keys of the second, which leaves a quarter of the work out.
    """
    tokens = query.shape[2]
    middle = tokens // 2
    seen_QT = torch.ones(tokens - middle, tokens, dtype=torch.bool).tril(middle)
    first = F.scaled_dot_product_attention(
        query[:, :, :middle],
        key[:, :, :middle],
        value[:, :, :middle],
        scale=scaling,
        is_causal=True,
        enable_gqa=gqa,
    )
    second = F.scaled_dot_product_attention(
        query[:, :, middle:], key, value, attn_mask=seen_QT, scale=scaling, enable_gqa=gqa
    )
    return torch.cat([first, second], dim=2)
