"""Attention for packed rows: no token sees another example, whatever the device.

Registered with transformers, which hands it queries, keys and values of one row, and the row's examples.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plw.train.batching.packed_row import PackedRow, make_row
from plw.train.model import written_attention

ROW_ATTENTION = "plw_row"
"""Name of the attention in transformers' registry."""

HALVED_TOKENS = 320
"""Tokens of an example from which halving its queries pays on a CPU: a seventh at 384 and 500, a loss at 256."""


class RowUnknownError(Exception):
    """A model's attention was called without the packed row, or with a mask of the model's own."""


def register() -> None:
    """Make the attention known to transformers. It needs no mask: a name without a mask function gets none."""
    from transformers import AttentionInterface

    AttentionInterface.register(ROW_ATTENTION, row_attention)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def has_varlen_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch's own variable-length attention runs there (CUDA, in 16 bits) and does what a shared row needs."""
    return device.type == "cuda" and dtype in (torch.bfloat16, torch.float16) and varlen_agrees(device, dtype)


@functools.cache
def varlen_agrees(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernel has the plain formula's output and gradients for examples that share tokens, and windows.

    How it counts where queries are fewer than keys is not in its documentation, so it is asked, once in a process.
    """
    row = make_row([np.arange(5), np.array([0, 1, 2, 5, 6, 7]), np.array([8, 9])], [5, 3, 2], device)
    dice = torch.Generator().manual_seed(0)
    parts = [torch.randn(1, heads, 10, 64, generator=dice).to(device, dtype) for heads in (4, 2, 2)]

    def attend(attention: Callable[..., Tensor], dtype: torch.dtype, *how: Any) -> list[Tensor]:
        leaves = [part.to(dtype).requires_grad_() for part in parts]
        output = attention(*leaves, row, *how)
        return [output, *torch.autograd.grad(output.float().square().sum(), leaves)]

    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        for window in (None, 2):
            plain = {"scaling": None, "dropout": 0.0, "window": window, "softcap": None}
            expected = attend(_example_by_example, torch.float32, plain)
            try:
                found = attend(_varlen, dtype, None, window)
            except (RuntimeError, NotImplementedError):
                return False
            for ours, other in zip(found, expected, strict=True):
                # bf16 rounds to 8 bits; another token seen, or one not seen, is far outside.
                if not (ours.float() - other).norm() <= 0.05 * other.norm():
                    return False
    return True


def row_attention(
    module: nn.Module,  # noqa: ARG001 - part of the interface
    query_1HTD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    attention_mask: Tensor | None,
    *,
    packed_row: PackedRow | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each example of one packed row.

    Args:
        module: the attention layer; not read.
        query_1HTD: [1, heads, tokens, head width].
        key_1HTD: the same, with as many heads or fewer (grouped).
        value_1HTD: as the keys.
        attention_mask: None; the row says it all.
        packed_row: which tokens of the row each example's own ones see.
        scaling: factor of the products; 1 / sqrt(head width) if None.
        dropout: share of attention weights that are dropped.
        sliding_window: a token sees itself and so many tokens before it, less one; all if None.
        softcap: products s become softcap * tanh(s / softcap).

    Returns:
        [1, tokens, heads, head width] and None.

    Raises:
        RowUnknownError: the model has not handed the row on to its attention.
    """
    if packed_row is None or attention_mask is not None:
        raise RowUnknownError
    device = query_1HTD.device
    query_1HTD, key_1HTD, value_1HTD = _autocast(query_1HTD, key_1HTD, value_1HTD)
    window = sliding_window if sliding_window is not None and sliding_window < packed_row.longest_key else None
    if has_varlen_kernel(device, query_1HTD.dtype) and dropout == 0 and softcap is None:
        return _varlen(query_1HTD, key_1HTD, value_1HTD, packed_row, scaling, window), None
    how = {"scaling": scaling, "dropout": dropout, "window": window, "softcap": softcap}
    return _example_by_example(query_1HTD, key_1HTD, value_1HTD, packed_row, how), None


def padded_attention(
    query_BHQD: Tensor,
    key_BHTD: Tensor,
    value_BHTD: Tensor,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Causal attention of each padded row's last tokens to all of its tokens; [rows, queries, heads, head width]."""
    how: dict[str, Any] = {"scaling": scaling, "dropout": 0.0, "window": sliding_window, "softcap": softcap}
    return _one_example(*_autocast(query_BHQD, key_BHTD, value_BHTD), **how).transpose(1, 2)


def _autocast(*parts: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values in the type of autocast's products, where it is on."""
    device = parts[0].device.type
    if not torch.is_autocast_enabled(device):
        return parts
    return tuple(part.to(torch.get_autocast_dtype(device)) for part in parts)


def _varlen(
    query_1HTD: Tensor, key_1HTD: Tensor, value_1HTD: Tensor, row: PackedRow, scaling: float | None, window: int | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    query_THD, key_KHD, value_KHD = (part[0].transpose(0, 1) for part in (query_1HTD, key_1HTD, value_1HTD))
    if row.key_K is not None:
        key_KHD, value_KHD = key_KHD.index_select(0, row.key_K), value_KHD.index_select(0, row.key_K)
    output = varlen_attn(
        query_THD,
        key_KHD,
        value_KHD,
        row.query_bound_E,
        row.key_bound_E,
        row.longest_query,
        row.longest_key,
        scale=scaling,
        # One to the left less than the window, because a token sees itself.
        window_size=(-1, 0) if window is None else (window - 1, 0),
        enable_gqa=query_1HTD.shape[1] != key_1HTD.shape[1],
    )
    assert isinstance(output, Tensor)
    return output[None]


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _example_by_example(
    query_1HTD: Tensor, key_1HTD: Tensor, value_1HTD: Tensor, row: PackedRow, how: dict[str, Any]
) -> Tensor:
    """Compiled, it would be so anew for every batch's lengths."""
    # Split at once: one slice an example would each write a whole row of zeros in the backward pass.
    query_E = torch.split(query_1HTD, row.queries_E, dim=2)
    key_I, value_I = (torch.split(part, row.stretches_I, dim=2) for part in (key_1HTD, value_1HTD))
    parts = [
        _one_example(query, _joined(key_I, keys), _joined(value_I, keys), **how)
        for query, keys in zip(query_E, row.keys_E, strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2)


def _joined(part_I: Sequence[Tensor], chosen: list[int]) -> Tensor:
    return part_I[chosen[0]] if len(chosen) == 1 else torch.cat([part_I[s] for s in chosen], dim=2)


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
    """Attention of an example's last tokens to all of its tokens."""
    queries, keys = query.shape[2], key.shape[2]
    groups = query.shape[1] // key.shape[1]
    if softcap is None and (window is None or window >= keys):
        causal = functools.partial(_causal, dropout=dropout, scaling=scaling, gqa=groups > 1)
        if query.device.type == "cpu" and queries >= HALVED_TOKENS and dropout == 0:
            # torch's CPU kernel computes what a causal mask then hides. Where the first half of the queries never meets
            # the keys of the second, a quarter of the work is left out.
            middle = queries // 2
            seen = keys - queries + middle
            first = causal(query[:, :, :middle], key[:, :, :seen], value[:, :, :seen])
            return torch.cat([first, causal(query[:, :, middle:], key, value)], dim=2)
        return causal(query, key, value)
    seen_TK = _seen(queries, keys, query.device)
    if window is not None:
        seen_TK = seen_TK.triu(keys - queries + 1 - window)
    if softcap is None:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=seen_TK, dropout_p=dropout, scale=scaling, enable_gqa=groups > 1
        )
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    product = query @ key.transpose(2, 3) * (query.shape[3] ** -0.5 if scaling is None else scaling)
    product = (torch.tanh(product / softcap) * softcap).masked_fill(~seen_TK, -torch.inf)
    weight = F.dropout(product.float().softmax(dim=-1).to(query.dtype), p=dropout)
    return weight @ value


def _causal(query: Tensor, key: Tensor, value: Tensor, *, scaling: float | None, dropout: float, gqa: bool) -> Tensor:
    """Causal attention of the last tokens to all; torch's own causal mask serves where all tokens are queries."""
    queries, keys = query.shape[2], key.shape[2]
    if dropout == 0 and written_attention.serves(query, key):
        return written_attention.causal_attention(query, key, value, scaling)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=None if queries == keys else _seen(queries, keys, query.device),
        dropout_p=dropout,
        is_causal=queries == keys,
        scale=scaling,
        enable_gqa=gqa,
    )


def _seen(queries: int, keys: int, device: torch.device) -> Tensor:
    """Which keys each of the last ``queries`` tokens sees: itself and those before it."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
