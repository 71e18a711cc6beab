"""The gradient of a step: transformers' own at weights 0 and 1, and the same in every layout."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plw.config.training import NORMALIZERS, SCOPES, LossConfig, RecipeConfig
from plw.data.encoding import COMPLETION, PROMPT, EncodedExample
from plw.train.attention import PACKED, register
from plw.train.gradient import StepLosses, WeightedModel, accumulate_gradients
from plw.train.model import LoadedModel, load_model
from plw.train.plan import Step, plan_training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> LoadedModel:
    register()
    return load_model(str(tiny_llama), tiny_tokenizer)


@pytest.fixture(scope="module")
def examples() -> list[EncodedExample]:
    """Eight of unlike lengths; the last one's prompt fills its length."""
    dice = np.random.default_rng(0)
    made = []
    for length, prompt in [(9, 4), (30, 10), (17, 3), (24, 20), (12, 1), (40, 8), (6, 2), (21, 21)]:
        role_T = np.where(np.arange(length) < prompt, PROMPT, COMPLETION).astype(np.uint8)
        made.append(EncodedExample(token_T=dice.integers(3, 400, length).astype(np.int32), role_T=role_T))
    return made


def plan_step(examples: list[EncodedExample], loss: LossConfig, budget: int, packed: bool = False) -> Step:
    recipe = RecipeConfig(name="r", epochs=1, batch_size=len(examples))
    (step,) = plan_training(examples, loss, recipe, seed=0, token_budget=budget, packed=packed).steps
    return step


def gradients(
    loaded: LoadedModel, examples: list[EncodedExample], step: Step, precision: str = "fp32", packed: bool = False
) -> tuple[StepLosses, Tensor]:
    loaded.model.zero_grad()
    loaded.model.set_attn_implementation(PACKED if packed else "sdpa")
    weighted = WeightedModel(loaded, precision=precision, packed=packed)
    losses = accumulate_gradients(weighted, examples, step, device=CPU)
    return losses, flat_gradient(loaded.model)


def flat_gradient(model: Any) -> Tensor:
    return torch.cat([parameter.grad.flatten().clone() for parameter in model.parameters()])


def distance(left: Tensor, right: Tensor) -> float:
    return float((left - right).norm() / right.norm())


def theirs(loaded: LoadedModel, batches: list[list[EncodedExample]], masked: bool) -> tuple[float, Tensor]:
    """transformers' own loss, averaged over batches: right padding, an attention mask, labels of -100."""
    loaded.model.zero_grad()
    loaded.model.set_attn_implementation("sdpa")
    total = 0.0
    for batch in batches:
        shape = (len(batch), max(len(example.token_T) for example in batch))
        token_BT, label_BT = torch.zeros(shape, dtype=torch.int64), torch.full(shape, -100)
        mask_BT = torch.zeros(shape, dtype=torch.int64)
        for b, example in enumerate(batch):
            length = len(example.token_T)
            token_BT[b, :length] = torch.from_numpy(example.token_T)
            mask_BT[b, :length] = 1
            label_T = token_BT[b, :length].clone()
            if masked:
                label_T[torch.from_numpy(example.role_T == PROMPT)] = -100
            label_BT[b, :length] = label_T
        loss = loaded.model(input_ids=token_BT, attention_mask=mask_BT, labels=label_BT).loss / len(batches)
        loss.backward()
        total += loss.item()
    return total, flat_gradient(loaded.model)


@pytest.mark.parametrize(
    # Dividing by completion tokens alone is another loss at weight 1, so that pair is left out.
    ("prompt_weight", "normalizer"),
    [(0.0, "nonzero"), (0.0, "weights"), (0.0, "completion"), (1.0, "nonzero"), (1.0, "weights")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_weights_0_and_1_are_transformers_masked_and_unmasked_loss(
    loaded: LoadedModel, examples: list[EncodedExample], prompt_weight: float, normalizer: str, packed: bool
) -> None:
    step = plan_step(examples, LossConfig(prompt_weight=prompt_weight, normalizer=normalizer), 64, packed)
    losses, ours = gradients(loaded, examples, step, packed=packed)
    loss, expected = theirs(loaded, [examples], masked=prompt_weight == 0)
    assert losses.loss == pytest.approx(loss, rel=1e-6)
    assert distance(ours, expected) < 2e-6


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("prompt_weight", [0.0, 1.0])
def test_scope_micro_is_the_average_over_micro_batches(
    loaded: LoadedModel, examples: list[EncodedExample], prompt_weight: float, packed: bool
) -> None:
    loss_config = LossConfig(prompt_weight=prompt_weight, scope="micro", virtual_micro_batch=4)
    step = plan_step(examples, loss_config, 64, packed)
    losses, ours = gradients(loaded, examples, step, packed=packed)
    shuffled = [examples[i] for i in step.example_E]
    loss, expected = theirs(loaded, [shuffled[:4], shuffled[4:]], masked=prompt_weight == 0)
    assert losses.loss == pytest.approx(loss, rel=1e-6)
    assert distance(ours, expected) < 2e-6


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_the_layout_does_not_enter_the_gradient(
    loaded: LoadedModel, examples: list[EncodedExample], scope: str, normalizer: str
) -> None:
    loss = LossConfig(prompt_weight=0.1, normalizer=normalizer, scope=scope, virtual_micro_batch=3)
    whole = plan_step(examples, loss, 10_000)
    assert len(whole.micro_batches[0]) == 1
    losses, expected = gradients(loaded, examples, whole)
    backwards = Step(
        epoch=1,
        example_E=whole.example_E,
        coefficient_ER=whole.coefficient_ER,
        micro_batches=[[part[::-1].copy() for part in plan_step(examples, loss, 60).micro_batches[0][::-1]]],
        tokens=whole.tokens,
    )
    layouts = [(plan_step(examples, loss, budget), False) for budget in (40, 60)] + [(backwards, False)]
    layouts += [(plan_step(examples, loss, budget, packed=True), True) for budget in (40, 60, 100)]
    for step, packed in layouts:
        assert len(step.micro_batches[0]) > 1
        other_losses, other = gradients(loaded, examples, step, packed=packed)
        assert distance(other, expected) < 2e-6
        for field in ("loss", "prompt_loss", "completion_loss"):
            assert getattr(other_losses, field) == pytest.approx(getattr(losses, field), rel=1e-6)


def test_logged_losses_are_unweighted_means(loaded: LoadedModel, examples: list[EncodedExample]) -> None:
    masked = gradients(loaded, examples, plan_step(examples, LossConfig(prompt_weight=0), 64))[0]
    assert masked.prompt_loss is None
    assert masked.completion_loss == pytest.approx(theirs(loaded, [examples], masked=True)[0], rel=1e-6)
    small = gradients(loaded, examples, plan_step(examples, LossConfig(prompt_weight=5e-4), 64))[0]
    full = gradients(loaded, examples, plan_step(examples, LossConfig(prompt_weight=1), 64))[0]
    assert small.completion_loss == pytest.approx(masked.completion_loss, rel=1e-6)
    assert small.prompt_loss == pytest.approx(full.prompt_loss, rel=1e-6)


def test_a_prompt_that_fills_the_length_leaves_the_gradient_alone(
    loaded: LoadedModel, examples: list[EncodedExample]
) -> None:
    loss = LossConfig(prompt_weight=0)
    with_full = gradients(loaded, examples, plan_step(examples, loss, 64))[1]
    without = gradients(loaded, examples[:-1], plan_step(examples[:-1], loss, 64))[1]
    assert torch.isfinite(with_full).all()
    assert distance(with_full, without) < 2e-6


def test_mixed_precision_is_near_fp32(loaded: LoadedModel, examples: list[EncodedExample]) -> None:
    step = plan_step(examples, LossConfig(prompt_weight=0.1), 64)
    losses, mixed = gradients(loaded, examples, step, "bf16-mixed")
    expected_losses, expected = gradients(loaded, examples, step)
    assert losses.loss == pytest.approx(expected_losses.loss, rel=5e-3)
    assert 1e-6 < distance(mixed, expected) < 0.05
    assert mixed.dtype == torch.float32
