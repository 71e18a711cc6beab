"""The factor of the model's prediction: the plain formula with the factor as a constant, and TRL's DFT to the digit."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from plw.config.loss import FactorConfig
from plw.loss.factor import entropy, token_factor
from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy

WIDTH, VOCABULARY = 5, 11

factors = st.one_of(
    st.builds(FactorConfig, kind=st.just("power"), exponent=st.floats(0.1, 10)),
    st.builds(FactorConfig, kind=st.just("focal"), exponent=st.floats(0.1, 5)),
    st.builds(FactorConfig, kind=st.just("threshold"), low=st.floats(0, 0.4), high=st.floats(0.4, 1)),
    st.builds(
        FactorConfig,
        kind=st.just("entropy"),
        exponent=st.floats(0.5, 2),
        top=st.none() | st.integers(2, 30),
        divisor=st.floats(0.5, 3),
    ),
)


def inputs(tokens: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """hidden_TD and weight_VD (with gradients), target_T, and coefficient_T of which a third is 0."""
    generator = torch.Generator().manual_seed(seed)
    hidden_TD = torch.randn(tokens, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
    weight_VD = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
    target_T = torch.randint(VOCABULARY, (tokens,), generator=generator)
    coefficient_T = torch.rand(tokens, generator=generator, dtype=torch.float64)
    coefficient_T[torch.rand(tokens, generator=generator) < 1 / 3] = 0
    return hidden_TD, weight_VD, target_T, coefficient_T


def plain_factor(logit_TV: Tensor, target_T: Tensor, factor: FactorConfig) -> Tensor:
    """g of each token, read off the config's words."""
    p_TV = logit_TV.softmax(-1)
    p_T = p_TV.gather(1, target_T[:, None]).squeeze(1)
    if factor.kind == "power":
        return p_T**factor.exponent
    if factor.kind == "focal":
        return (1 - p_T) ** factor.exponent
    if factor.kind == "threshold":
        return ((p_T >= factor.low) & (p_T <= factor.high)).to(p_T.dtype)
    top_TV = p_TV.sort(descending=True).values[:, : factor.top]
    top_TV = top_TV / top_TV.sum(-1, keepdim=True)
    return (torch.special.entr(top_TV).sum(-1) / factor.divisor) ** factor.exponent


@settings(max_examples=60)
@given(
    tokens=st.integers(0, 15),
    seed=st.integers(0, 99),
    chunk=st.none() | st.integers(1, 20),
    smoothing=st.just(0.0) | st.floats(0, 1),
    softcap=st.none() | st.floats(0.5, 20),
    factor=factors,
)
def test_value_and_gradients_equal_the_plain_formula_with_the_factor_held_constant(
    tokens: int, seed: int, chunk: int | None, smoothing: float, softcap: float | None, factor: FactorConfig
) -> None:
    hidden_TD, weight_VD, target_T, coefficient_T = inputs(tokens, seed)
    output = weighted_linear_cross_entropy(
        hidden_TD, weight_VD, target_T, coefficient_T,
        chunk=chunk, label_smoothing=smoothing, softcap=softcap, factor=factor,
    )  # fmt: skip
    logit_TV = hidden_TD @ weight_VD.T
    if softcap is not None:
        logit_TV = softcap * torch.tanh(logit_TV / softcap)
    factor_T = plain_factor(logit_TV.detach(), target_T, factor)
    loss_T = F.cross_entropy(logit_TV, target_T, reduction="none", label_smoothing=smoothing)
    expected = (coefficient_T * factor_T * loss_T).sum()
    torch.testing.assert_close(output.loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(output.loss, (hidden_TD, weight_VD)),
        torch.autograd.grad(expected, (hidden_TD, weight_VD)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
    # What is logged is the model's own loss.
    plain_N = F.cross_entropy(logit_TV, target_T, reduction="none")[output.computed_N]
    torch.testing.assert_close(output.cross_entropy_N, plain_N.detach())


@pytest.mark.parametrize("kind", ["power", "focal", "entropy"])
def test_the_gradient_is_the_slope_of_the_surrogate(kind: str) -> None:
    """By finite differences of the sum in which g stays what it is at the point."""
    factor = FactorConfig(kind=kind, exponent=1.5)
    hidden_TD, weight_VD, target_T, coefficient_T = inputs(6, 3)
    factor_T = plain_factor((hidden_TD @ weight_VD.T).detach(), target_T, factor)

    class Surrogate(torch.autograd.Function):
        """The sum with a constant factor forward, our gradient backward: what gradcheck compares."""

        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, hidden_TD: Tensor, weight_VD: Tensor) -> Tensor:
            ctx.save_for_backward(hidden_TD, weight_VD)
            ce_T = F.cross_entropy(hidden_TD @ weight_VD.T, target_T, reduction="none")
            return (coefficient_T * factor_T * ce_T).sum()

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                leaves = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
                loss = weighted_linear_cross_entropy(*leaves, target_T, coefficient_T, chunk=4, factor=factor).loss
            return tuple(grad * part for part in torch.autograd.grad(loss, leaves))

    assert torch.autograd.gradcheck(Surrogate.apply, (hidden_TD, weight_VD))


def test_dft_is_trls(shared_data: Path) -> None:
    """TRL 1.16's `loss_type="dft"` on logits that it was given: terms, their mean, and the gradient."""
    reference = json.loads((shared_data / "reference" / "dft" / "trl_1_16.json").read_text())
    logit_TV = torch.tensor(reference["logits"], dtype=torch.float64).requires_grad_()
    target_T = torch.tensor(reference["labels"])[1:]
    learned_T = torch.tensor(reference["mask_of_labels"], dtype=torch.float64)[1:]
    head_VV = torch.eye(logit_TV.shape[1], dtype=torch.float64)
    dft = FactorConfig(kind="power")
    coefficient_T = learned_T / learned_T.sum()
    loss = weighted_linear_cross_entropy(logit_TV[:-1], head_VV, target_T, coefficient_T, factor=dft).loss
    (gradient_TV,) = torch.autograd.grad(loss, logit_TV)
    assert loss.item() == pytest.approx(reference["loss"], rel=1e-6)
    torch.testing.assert_close(
        gradient_TV, torch.tensor(reference["gradient"], dtype=torch.float64), rtol=1e-5, atol=1e-7
    )
    terms = [
        weighted_linear_cross_entropy(logit_TV[t : t + 1], head_VV, target_T[t : t + 1], torch.ones(1), factor=dft).loss
        for t in range(len(target_T))
    ]
    assert torch.stack(terms).tolist() == pytest.approx(reference["per_token"], rel=1e-6)
    nll = weighted_linear_cross_entropy(logit_TV[:-1], head_VV, target_T, coefficient_T).loss
    assert nll.item() == pytest.approx(reference["nll"], rel=1e-6)


def test_a_threshold_takes_both_of_its_ends() -> None:
    sure_T = torch.zeros(1, 1, dtype=torch.float64)
    half_T = torch.full((1, 1), math.log(2), dtype=torch.float64)
    for low, high, cross_entropy, expected in (
        (0.0, 1.0, sure_T, 1),
        (1.0, 1.0, sure_T, 1),
        (0.5, 1.0, half_T, 1),
        (0.0, 0.5, half_T, 1),
        (0.6, 1.0, half_T, 0),
    ):
        factor = FactorConfig(kind="threshold", low=low, high=high)
        assert token_factor(factor, cross_entropy, None).item() == expected


@pytest.mark.parametrize("kind", ["power", "focal", "threshold", "entropy"])
def test_what_rounding_leaves_below_0_counts_as_0(kind: str) -> None:
    """A cross-entropy and an entropy of a certain prediction: p would lie above 1, its complement below 0."""
    factor = FactorConfig(kind=kind, **({} if kind == "threshold" else {"exponent": 0.5}))
    below_11, zero_11 = torch.full((1, 1), -1e-7, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    assert torch.equal(token_factor(factor, below_11, below_11), token_factor(factor, zero_11, zero_11))


@pytest.mark.parametrize("top", [None, 2, VOCABULARY, 30])
def test_entropy_is_that_of_the_greatest_logits_alone(top: int | None) -> None:
    logit_TV = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept_TV = logit_TV.sort(descending=True).values[:, :top]
    expected_T1 = torch.special.entr(kept_TV.softmax(-1)).sum(-1, keepdim=True)
    torch.testing.assert_close(entropy(logit_TV, top), expected_T1)


def test_without_a_factor_nothing_changes_and_a_factor_of_one_is_none() -> None:
    hidden_TD, weight_VD, target_T, coefficient_T = inputs(9, 1)
    everything = FactorConfig(kind="threshold")

    def run(factor: FactorConfig | None) -> list[Tensor]:
        loss = weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T, factor=factor).loss
        return [loss, *torch.autograd.grad(loss, (hidden_TD, weight_VD))]

    for other in (FactorConfig(), everything):
        assert all(torch.equal(one, two) for one, two in zip(run(None), run(other), strict=True))


@pytest.mark.parametrize("kind", ["power", "focal", "threshold", "entropy"])
def test_predictions_at_the_ends_of_the_scale_stay_finite(kind: str) -> None:
    """One token certain and right, one certain and wrong: p is 1 and 0, the entropy 0."""
    fields = {"threshold": {"low": 0.5}}.get(kind, {"exponent": 0.5})
    logit_TV = torch.tensor([[1e4, 0.0, 0.0], [0.0, 1e4, 0.0]], requires_grad=True)
    loss = weighted_linear_cross_entropy(
        logit_TV, torch.eye(3), torch.tensor([0, 0]), torch.ones(2), factor=FactorConfig(kind=kind, **fields)
    ).loss
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(logit_TV.grad).all()
    if kind == "threshold":
        assert loss.item() == 0, "the certain token costs nothing, the hopeless one is left out"
