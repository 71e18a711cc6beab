"""Attention in bf16 on a CPU: outputs and gradients of the plain formula, rounded no worse than by torch's kernel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from plw.train.batching.packed_row import make_row
from plw.train.model import written_attention
from plw.train.model.attention import row_attention
from plw.train.model.written_attention import MAX_KEYS, causal_attention, serves


def parts(rows: int, heads: int, groups: int, queries: int, keys: int, dtype: torch.dtype) -> list[Tensor]:
    dice = torch.Generator().manual_seed(keys)
    shapes = [(heads, queries), (heads // groups, keys), (heads // groups, keys)]
    return [torch.randn(rows, h, t, 16, generator=dice).to(dtype).requires_grad_() for h, t in shapes]


def formula(query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
    """In fp64."""
    query, key, value = (part.double() for part in (query, key, value))
    groups, queries, keys = query.shape[1] // key.shape[1], query.shape[2], key.shape[2]
    score = query @ key.repeat_interleave(groups, 1).transpose(2, 3) * (scaling or query.shape[3] ** -0.5)
    seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    return score.masked_fill(~seen, -torch.inf).softmax(-1) @ value.repeat_interleave(groups, 1)


def with_gradients(output: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    slope = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).bfloat16()
    slopes = torch.autograd.grad(output, leaves, slope.to(output.dtype))
    return [part.detach().double() for part in (output, *slopes)]


def distances(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    return [float((one - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)]


@settings(max_examples=60)
@given(
    rows=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    queries=st.integers(1, 40),
    before=st.integers(0, 40),
    scaling=st.sampled_from([None, 0.1, 2.0]),
)
def test_it_is_the_formula(rows: int, groups: int, queries: int, before: int, scaling: float | None) -> None:
    leaves = parts(rows, 4, groups, queries, queries + before, torch.float64)
    found, exact = (with_gradients(attention(*leaves, scaling), leaves) for attention in (causal_attention, formula))
    for ours, other in zip(found, exact, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("queries", "keys"), [(40, 40), (90, 200), (300, 300)])
@pytest.mark.parametrize("size", [1, 3])
def test_bf16_costs_no_more_than_in_torchs_kernel(queries: int, keys: int, size: int) -> None:
    """Also where scores are large, so that one key has most of the weight."""
    leaves = [(part * size).detach().requires_grad_() for part in parts(1, 6, 3, queries, keys, torch.bfloat16)]
    seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    exact = with_gradients(formula(*leaves), leaves)
    torchs = scaled_dot_product_attention(*leaves, attn_mask=seen, enable_gqa=True)

    ours = distances(with_gradients(causal_attention(*leaves), leaves), exact)

    assert max(ours) < 0.01
    assert sum(ours) <= sum(distances(with_gradients(torchs, leaves), exact))


def test_autocast_does_not_round_the_scores() -> None:
    leaves = parts(1, 4, 2, 30, 50, torch.bfloat16)
    plain = causal_attention(*leaves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = causal_attention(*leaves)
        slopes = torch.autograd.grad(cast.sum(), leaves)

    assert torch.equal(cast, plain)
    for one, other in zip(slopes, torch.autograd.grad(plain.sum(), leaves), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("tokens", [300, MAX_KEYS, MAX_KEYS + 1])
def test_a_row_takes_it_for_short_examples(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones are halved, or left to torch: the same either way."""
    lengths: list[int] = []

    def serves_and_notes(query: Tensor, key: Tensor) -> bool:
        lengths.append(key.shape[2])
        return serves(query, key)

    monkeypatch.setattr(written_attention, "serves", serves_and_notes)
    leaves = parts(1, 2, 2, tokens + 7, tokens + 7, torch.bfloat16)
    row = make_row([np.arange(tokens), np.arange(tokens, tokens + 7)], [tokens, 7], torch.device("cpu"))
    found, _ = row_attention(torch.nn.Identity(), *leaves, None, packed_row=row)
    first, second = ([part[:, :, own] for part in leaves] for own in (slice(tokens), slice(tokens, None)))

    assert max(lengths) == tokens
    exact = torch.cat([formula(*first), formula(*second)], dim=2).transpose(1, 2)
    assert max(distances(with_gradients(found, leaves), with_gradients(exact, leaves))) < 0.01


def test_it_serves_bf16_and_short_rows_alone() -> None:
    query, key, _ = parts(1, 2, 1, 4, 4, torch.bfloat16)

    assert serves(query, key)
    assert not serves(query.float(), key.float())
    assert not serves(query, parts(1, 2, 1, 4, MAX_KEYS + 1, torch.bfloat16)[1])
