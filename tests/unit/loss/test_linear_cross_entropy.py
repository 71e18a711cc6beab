"""The weighted loss: the plain formula's value and gradients, in any chunk, and nothing computed that is not needed."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy

WIDTH, VOCABULARY = 5, 11


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a head does beyond its matrix product."""

    softcap: float | None = None
    logit_scale: float = 1.0
    label_smoothing: float = 0.0


HEADS = [
    Head(),
    Head(softcap=1.5),
    Head(logit_scale=0.25),
    Head(label_smoothing=0.1),
    Head(softcap=0.7, logit_scale=3.0, label_smoothing=0.3),
]


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


def logits(hidden_TD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, head: Head) -> Tensor:
    logit_TV = F.linear(hidden_TD, weight_VD, bias_V) * head.logit_scale
    return logit_TV if head.softcap is None else head.softcap * torch.tanh(logit_TV / head.softcap)


def plain(
    hidden_TD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    target_T: Tensor,
    coefficient_T: Tensor,
    head: Head = HEADS[0],
) -> Tensor:
    logit_TV = logits(hidden_TD, weight_VD, bias_V, head)
    cross_entropy_T = F.cross_entropy(logit_TV, target_T, reduction="none", label_smoothing=head.label_smoothing)
    return (coefficient_T * cross_entropy_T).sum()


heads = st.builds(
    Head,
    softcap=st.none() | st.floats(0.1, 50),
    logit_scale=st.just(1.0) | st.floats(0.05, 4),
    label_smoothing=st.just(0.0) | st.floats(0, 1),
)


@settings(max_examples=60)
@given(
    tokens=st.integers(0, 20),
    seed=st.integers(0, 99),
    chunk=st.none() | st.integers(1, 25),
    scale=st.just(1.0) | st.floats(-2, 2),
    biased=st.booleans(),
    head=heads,
)
def test_value_and_gradients_equal_the_plain_formula(
    tokens: int, seed: int, chunk: int | None, scale: float, biased: bool, head: Head
) -> None:
    hidden_TD, weight_VD, bias, target_T, coefficient_T = inputs(tokens, seed)
    bias_V = bias if biased else None
    leaves = (hidden_TD, weight_VD, bias) if biased else (hidden_TD, weight_VD)
    output = weighted_linear_cross_entropy(
        hidden_TD, weight_VD, target_T, coefficient_T, bias_V=bias_V, chunk=chunk, **vars(head)
    )
    expected = plain(hidden_TD, weight_VD, bias_V, target_T, coefficient_T, head)
    torch.testing.assert_close(output.loss, expected)
    # Scaled, as a caller may go on computing with the loss.
    for ours, theirs in zip(
        torch.autograd.grad(scale * output.loss, leaves), torch.autograd.grad(scale * expected, leaves), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    assert output.computed_N.tolist() == coefficient_T.nonzero().flatten().tolist()
    logit_NV = logits(hidden_TD, weight_VD, bias_V, head)[output.computed_N]
    torch.testing.assert_close(
        output.cross_entropy_N, F.cross_entropy(logit_NV, target_T[output.computed_N], reduction="none").detach()
    )
    assert not output.cross_entropy_N.requires_grad


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_gradcheck(head: Head) -> None:
    hidden_TD, weight_VD, bias_V, target_T, coefficient_T = inputs(7, 0)

    def loss(hidden_TD: Tensor, weight_VD: Tensor, bias_V: Tensor) -> Tensor:
        return weighted_linear_cross_entropy(
            hidden_TD, weight_VD, target_T, coefficient_T, bias_V=bias_V, chunk=3, **vars(head)
        ).loss

    assert torch.autograd.gradcheck(loss, (hidden_TD, weight_VD, bias_V))


def test_logits_of_any_size_stay_finite() -> None:
    """A row's largest logit is taken off before the exponential, and a hopeless target costs what it should."""
    hidden_TD, weight_VD, _, target_T, coefficient_T = inputs(12, 5)
    far_TD = (1e4 * hidden_TD).detach().requires_grad_()
    output = weighted_linear_cross_entropy(far_TD, weight_VD, target_T, coefficient_T)
    expected = plain(far_TD, weight_VD, None, target_T, coefficient_T)
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(torch.autograd.grad(output.loss, far_TD), torch.autograd.grad(expected, far_TD))


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


def test_a_tied_embedding_gets_both_gradients() -> None:
    """The head's weight is also what the hidden states are made of, as in a model with tied embeddings."""
    _, weight_VD, _, target_T, coefficient_T = inputs(9, 4)
    hidden_TD = F.embedding(target_T.roll(1), weight_VD).tanh()
    (ours,) = torch.autograd.grad(
        weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T, chunk=2).loss,
        weight_VD,
        retain_graph=True,
    )
    (theirs,) = torch.autograd.grad(plain(hidden_TD, weight_VD, None, target_T, coefficient_T), weight_VD)
    torch.testing.assert_close(ours, theirs)


def test_backward_twice_adds_the_same_gradient_twice() -> None:
    """What the forward keeps is handed out, not copied: the first gradient must not grow with the second."""
    hidden_TD, weight_VD, _, target_T, coefficient_T = inputs(9, 6)
    loss = weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T).loss
    once = torch.autograd.grad(loss, (hidden_TD, weight_VD), retain_graph=True)
    once = tuple(gradient.clone() for gradient in once)
    loss.backward(retain_graph=True)
    loss.backward()
    for leaf, gradient in zip((hidden_TD, weight_VD), once, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, 2 * gradient)


class Products(TorchDispatchMode):
    """Counts matrix products by what they make, and keeps the size of the largest tensor made."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = self.hidden_gradients = self.weight_gradients = 0
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_):
            shape = tuple(result.shape)
            self.weight_gradients += shape == (VOCABULARY, WIDTH)
            self.hidden_gradients += shape[1] == WIDTH and shape[0] != VOCABULARY
            self.logits += shape[1] == VOCABULARY
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


@pytest.mark.parametrize("head", [HEADS[0], HEADS[-1]], ids=["plain", "all"])
def test_only_gradients_that_are_asked_for_are_computed(head: Head) -> None:
    hidden_TD, weight_VD, _, target_T, coefficient_T = inputs(8, 2)
    coefficient_T += 0.1

    def products() -> tuple[int, int, int]:
        with Products() as counted:
            loss = weighted_linear_cross_entropy(
                hidden_TD, weight_VD, target_T, coefficient_T, chunk=4, **vars(head)
            ).loss
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
        return counted.logits, counted.hidden_gradients, counted.weight_gradients

    assert products() == (2, 2, 2), "everything in the forward, nothing again in the backward"
    weight_VD.requires_grad_(False)
    weight_VD.grad = None
    assert products() == (2, 2, 0), "a frozen head"
    assert weight_VD.grad is None
    with torch.no_grad():
        assert products() == (2, 0, 0), "evaluation"


@pytest.mark.parametrize("needed", [(False, False, True), (False, True, False), (True, False, True)], ids=str)
def test_each_gradient_is_right_alone(needed: tuple[bool, ...]) -> None:
    """Of hidden states, weight and bias, those that are trained."""
    *leaves, target_T, coefficient_T = inputs(9, 8)
    for leaf, is_trained in zip(leaves, needed, strict=True):
        leaf.requires_grad_(is_trained)
    hidden_TD, weight_VD, bias_V = leaves
    trained = [leaf for leaf in leaves if leaf.requires_grad]
    loss = weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T, bias_V=bias_V, chunk=2).loss
    expected = plain(hidden_TD, weight_VD, bias_V, target_T, coefficient_T)
    torch.testing.assert_close(torch.autograd.grad(loss, trained), torch.autograd.grad(expected, trained))


def test_rows_that_the_caller_names_come_as_often_as_it_says() -> None:
    """One row predicts two targets, and one of coefficient 0 is computed too."""
    hidden_TD, weight_VD, *_ = inputs(6, 9)
    row_N, target_N = torch.tensor([4, 1, 1, 5]), torch.tensor([0, 3, 7, 2])
    coefficient_N = torch.tensor([0.5, 0.25, 1.0, 0.0], dtype=torch.float64)
    output = weighted_linear_cross_entropy(hidden_TD, weight_VD, target_N, coefficient_N, row_N=row_N, chunk=3)
    logit_NV = hidden_TD[row_N] @ weight_VD.T
    expected_N = F.cross_entropy(logit_NV, target_N, reduction="none")
    assert output.computed_N.tolist() == row_N.tolist()
    torch.testing.assert_close(output.cross_entropy_N, expected_N.detach())
    leaves, expected = (hidden_TD, weight_VD), (coefficient_N * expected_N).sum()
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(torch.autograd.grad(output.loss, leaves), torch.autograd.grad(expected, leaves))


def test_evaluation_makes_no_gradient_buffer() -> None:
    hidden_TD, weight_VD, _, target_T, coefficient_T = inputs(40, 2)
    with torch.no_grad(), Products() as counted:
        output = weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T, chunk=1)
    assert not output.loss.requires_grad
    # The copy of the computed rows is the largest thing made: not even one tensor of the weight's shape beside it.
    assert counted.largest == len(output.computed_N) * WIDTH
    torch.testing.assert_close(output.loss, plain(hidden_TD, weight_VD, None, target_T, coefficient_T).detach())


def test_no_tensor_of_tokens_by_vocabulary_is_made() -> None:
    hidden_TD, weight_VD, _, target_T, coefficient_T = inputs(200, 7)
    with Products() as counted:
        weighted_linear_cross_entropy(
            hidden_TD, weight_VD, target_T, coefficient_T, chunk=8, **vars(HEADS[-1])
        ).loss.backward()  # type: ignore[no-untyped-call]
    assert counted.largest == 200 * WIDTH < 200 * VOCABULARY


@pytest.mark.parametrize("chunk", [3, 200])
@pytest.mark.parametrize("autocast", [True, False])
def test_half_products_keep_fp32_sums(autocast: bool, chunk: int) -> None:
    """bf16 by autocast or by the inputs' own type: logits off by bf16's rounding, the sums not more.

    Three rows a chunk are 1,000 sums, which in bf16 would be off by far more; 200 are made fp32 some at a time.
    """
    hidden_TD, weight_VD, bias_V, target_T, coefficient_T = inputs(3000, 3, torch.float32)
    expected = plain(hidden_TD, weight_VD, bias_V, target_T, coefficient_T)
    expected_gradients = torch.autograd.grad(expected, (hidden_TD, weight_VD, bias_V))
    dtype = torch.float32 if autocast else torch.bfloat16
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in (hidden_TD, weight_VD, bias_V)]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        output = weighted_linear_cross_entropy(*leaves[:2], target_T, coefficient_T, bias_V=leaves[2], chunk=chunk)
    gradients = torch.autograd.grad(output.loss, leaves)
    assert output.loss.dtype == output.cross_entropy_N.dtype == torch.float32
    assert [gradient.dtype for gradient in gradients] == [dtype] * 3
    assert abs(output.loss / expected - 1) < 1e-3
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        assert 1e-4 < (ours.float() - theirs).norm() / theirs.norm() < 0.02, "as far off as bf16 rounds: it is used"


@pytest.mark.parametrize("vocabulary", [50, 70_000])
@pytest.mark.parametrize("coefficient", [1.0, 1e-3, 1e-6, -1e-6])
@pytest.mark.parametrize("autocast", [False, True])
def test_fp16_neither_loses_small_coefficients_nor_overflows(
    autocast: bool, coefficient: float, vocabulary: int
) -> None:
    """As GradScaler has it, the loss is multiplied; a new model's softmax sums up to the size of its vocabulary."""
    generator, scale = torch.Generator().manual_seed(0), 1 / coefficient
    exact = [torch.randn(*shape, generator=generator).half() for shape in ((9, 16), (vocabulary, 16))]
    exact[1] *= 0.02
    # A certain prediction: its softmax sums up to 1, and must not be lost beside the others.
    exact[0][0] *= 500
    target_T = torch.randint(vocabulary, (9,), generator=generator)
    coefficient_T = coefficient * torch.linspace(0.1, 1, 9)
    leaves = [leaf.to(torch.float32 if autocast else torch.float16).requires_grad_() for leaf in exact]
    with torch.autocast("cpu", dtype=torch.float16, enabled=autocast):
        output = weighted_linear_cross_entropy(*leaves, target_T, coefficient_T, bias_V=None, chunk=4)
    doubles = [leaf.double().requires_grad_() for leaf in exact]
    expected = plain(*doubles, None, target_T, coefficient_T.double())
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-3)
    ours, theirs = (torch.autograd.grad(scale * loss, of) for loss, of in ((output.loss, leaves), (expected, doubles)))
    for found, right in zip(ours, theirs, strict=True):
        assert float((found.double() - right).norm()) <= 2e-3 * float(right.norm())
    assert float((ours[0][0].double() - theirs[0][0]).norm()) <= 2e-3 * float(theirs[0][0].norm())
