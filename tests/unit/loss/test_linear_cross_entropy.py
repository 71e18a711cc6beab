"""The weighted loss: the plain formula's value and gradients, in any chunk, and rows of coefficient 0 never touched."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy

WIDTH, VOCABULARY = 5, 11


def inputs(tokens: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """hidden_TD, weight_VD, bias_V (with gradients), target_T and coefficient_T of which a third is 0."""
    generator = torch.Generator().manual_seed(seed)
    hidden_TD = torch.randn(tokens, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    weight_VD = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    bias_V = torch.randn(VOCABULARY, generator=generator, dtype=dtype).requires_grad_()
    target_T = torch.randint(VOCABULARY, (tokens,), generator=generator)
    coefficient_T = torch.rand(tokens, generator=generator, dtype=dtype)
    coefficient_T[torch.rand(tokens, generator=generator) < 1 / 3] = 0
    return hidden_TD, weight_VD, bias_V, target_T, coefficient_T


def plain(hidden_TD: Tensor, weight_VD: Tensor, bias_V: Tensor, target_T: Tensor, coefficient_T: Tensor) -> Tensor:
    cross_entropy_T = F.cross_entropy(F.linear(hidden_TD, weight_VD, bias_V), target_T, reduction="none")
    return (coefficient_T * cross_entropy_T).sum()


@settings(max_examples=40, deadline=None)
@given(tokens=st.integers(0, 20), seed=st.integers(0, 99), chunk=st.integers(1, 25), scale=st.floats(-2, 2))
def test_value_and_gradients_equal_the_plain_formula(tokens: int, seed: int, chunk: int, scale: float) -> None:
    hidden_TD, weight_VD, bias_V, target_T, coefficient_T = inputs(tokens, seed)
    leaves = (hidden_TD, weight_VD, bias_V)
    output = weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T, bias_V=bias_V, chunk=chunk)
    expected = plain(*leaves, target_T, coefficient_T)
    torch.testing.assert_close(output.loss, expected)
    # Scaled, as a caller may go on computing with the loss.
    for ours, theirs in zip(
        torch.autograd.grad(scale * output.loss, leaves), torch.autograd.grad(scale * expected, leaves), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    assert output.computed_N.tolist() == coefficient_T.nonzero().flatten().tolist()
    logit_NV = F.linear(hidden_TD, weight_VD, bias_V)[output.computed_N]
    torch.testing.assert_close(
        output.cross_entropy_N, F.cross_entropy(logit_NV, target_T[output.computed_N], reduction="none").detach()
    )
    assert not output.cross_entropy_N.requires_grad


def test_gradcheck() -> None:
    hidden_TD, weight_VD, bias_V, target_T, coefficient_T = inputs(7, 0)

    def loss(hidden_TD: Tensor, weight_VD: Tensor, bias_V: Tensor) -> Tensor:
        return weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T, bias_V=bias_V, chunk=3).loss

    assert torch.autograd.gradcheck(loss, (hidden_TD, weight_VD, bias_V))


def test_rows_without_coefficient_are_never_computed() -> None:
    hidden_TD, weight_VD, _, target_T, coefficient_T = inputs(30, 1, torch.float32)
    clean_TD = hidden_TD.detach().clone().requires_grad_()
    unused_T = coefficient_T == 0
    with torch.no_grad():
        hidden_TD[unused_T] = float("nan")
    target_T[unused_T] = 10**9
    output = weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T, chunk=4)
    poisoned = torch.autograd.grad(output.loss, (hidden_TD, weight_VD))
    target_T[unused_T] = 0
    loss = weighted_linear_cross_entropy(clean_TD, weight_VD, target_T, coefficient_T, chunk=4).loss
    clean = torch.autograd.grad(loss, (clean_TD, weight_VD))
    assert output.loss == loss
    for left, right in zip(poisoned, clean, strict=True):
        assert torch.equal(left, right)
    assert unused_T.any()
    assert not poisoned[0][unused_T].any()


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden_TD, weight_VD, _, target_T, coefficient_T = inputs(8, 2)
    weight_VD.requires_grad_(False)
    weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T).loss.backward()  # type: ignore[no-untyped-call]
    assert hidden_TD.grad is not None
    assert weight_VD.grad is None
    with torch.no_grad():
        assert not weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T).loss.requires_grad


@pytest.mark.parametrize("autocast", [True, False])
def test_half_products_keep_fp32_sums(autocast: bool) -> None:
    """bf16 by autocast or by the inputs' own type: logits off by bf16's rounding, the sum over many rows not more."""
    hidden_TD, weight_VD, _, target_T, coefficient_T = inputs(3000, 3, torch.float32)
    expected = plain(hidden_TD, weight_VD, torch.zeros(VOCABULARY), target_T, coefficient_T)
    expected_gradients = torch.autograd.grad(expected, (hidden_TD, weight_VD))
    dtype = torch.float32 if autocast else torch.bfloat16
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in (hidden_TD, weight_VD)]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        output = weighted_linear_cross_entropy(*leaves, target_T, coefficient_T)
    gradients = torch.autograd.grad(output.loss, leaves)
    assert output.loss.dtype == output.cross_entropy_N.dtype == torch.float32
    assert [gradient.dtype for gradient in gradients] == [dtype, dtype]
    assert abs(output.loss / expected - 1) < 1e-3
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        assert (ours.float() - theirs).norm() / theirs.norm() < 0.02
