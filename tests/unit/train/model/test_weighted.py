"""The gradient of a step: transformers' own at weights 0 and 1, and the same in every layout."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plw.config.loss import NORMALIZERS, SCOPES, FactorConfig, LossConfig, RolesConfig
from plw.config.study import PACKED, PADDED, PREFIX
from plw.config.training import RecipeConfig
from plw.data.encoding import COMPLETION, IS_COMPLETION_R, PROMPT, EncodedExample
from plw.loss.coefficients import expand
from plw.train.batching.plan import Step, plan_training
from plw.train.model.attention import ROW_ATTENTION, register
from plw.train.model.load import LoadedModel, load_model
from plw.train.model.weighted import StepLosses, WeightedModel, accumulate_gradients

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CPU = torch.device("cpu")
LAYOUTS = (PADDED, PACKED, PREFIX)


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


@pytest.fixture(scope="module")
def alike_examples() -> list[EncodedExample]:
    """Examples that begin alike and part in every way: at a token, in their roles, by ending, not at all."""
    dice = np.random.default_rng(1)
    preamble, instruction, other = (dice.integers(3, 400, length).tolist() for length in (6, 4, 5))
    made = [
        ([*preamble, 10, 11, 12, 13], 8),
        ([*preamble, *instruction, 20, 21, 22], 10),
        # The same tokens: what is a prompt in the one is a completion in the other.
        ([*preamble, *instruction, 20, 21, 22], 7),
        ([*preamble, *instruction, 20, 30], 10),
        # Ends where others go on.
        ([*preamble, *instruction], 5),
        (preamble, 3),
        ([*preamble[:3], *other, 40, 41], 8),
        (dice.integers(3, 400, 9).tolist(), 2),
    ]
    return [
        EncodedExample(token_T=np.array(tokens, dtype=np.int32), role_T=(np.arange(len(tokens)) >= prompt).astype("u1"))
        for tokens, prompt in made
    ]


def plan_step(examples: list[EncodedExample], loss: LossConfig, budget: int, layout: str = PADDED) -> Step:
    recipe = RecipeConfig(name="r", epochs=1, batch_size=len(examples))
    (step,) = plan_training(examples, loss, recipe, seed=0, token_budget=budget, layout=layout).steps
    return step


def gradients(
    loaded: LoadedModel,
    examples: list[EncodedExample],
    step: Step,
    precision: str = "fp32",
    layout: str = PADDED,
    factor: FactorConfig | None = None,
) -> tuple[StepLosses, Tensor]:
    loaded.model.zero_grad()
    loaded.model.set_attn_implementation("sdpa" if layout == PADDED else ROW_ATTENTION)
    weighted = WeightedModel(loaded, precision=precision, layout=layout, factor=factor)
    losses, _ = accumulate_gradients(weighted, examples, step, device=CPU)
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
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_0_and_1_are_transformers_masked_and_unmasked_loss(
    loaded: LoadedModel, examples: list[EncodedExample], prompt_weight: float, normalizer: str, layout: str
) -> None:
    step = plan_step(examples, LossConfig(prompt_weight=prompt_weight, normalizer=normalizer), 64, layout)
    losses, ours = gradients(loaded, examples, step, layout=layout)
    loss, expected = theirs(loaded, [examples], masked=prompt_weight == 0)
    assert losses.loss == pytest.approx(loss, rel=1e-6)
    assert distance(ours, expected) < 2e-6


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prompt_weight", [0.0, 1.0])
def test_scope_micro_is_the_average_over_micro_batches(
    loaded: LoadedModel, examples: list[EncodedExample], prompt_weight: float, layout: str
) -> None:
    loss_config = LossConfig(prompt_weight=prompt_weight, scope="micro", virtual_micro_batch=4)
    step = plan_step(examples, loss_config, 64, layout)
    losses, ours = gradients(loaded, examples, step, layout=layout)
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
    layouts = [(plan_step(examples, loss, budget), PADDED) for budget in (40, 60)] + [(backwards, PADDED)]
    layouts += [
        (plan_step(examples, loss, budget, layout), layout) for budget in (40, 60, 100) for layout in (PACKED, PREFIX)
    ]
    for step, layout in layouts:
        assert len(step.micro_batches[0]) > 1
        assert_same(gradients(loaded, examples, step, layout=layout), (losses, expected))


def assert_same(found: tuple[StepLosses, Tensor], expected: tuple[StepLosses, Tensor]) -> None:
    assert distance(found[1], expected[1]) < 2e-6
    for one, other in zip(dataclasses.astuple(found[0]), dataclasses.astuple(expected[0]), strict=True):
        assert one == (other if other is None else pytest.approx(other, rel=1e-6))


@pytest.mark.parametrize("prompt_weight", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("budget", [13, 30, 1000])
def test_shared_beginnings_do_not_enter_the_gradient(
    loaded: LoadedModel, alike_examples: list[EncodedExample], prompt_weight: float, scope: str, budget: int
) -> None:
    loss = LossConfig(prompt_weight=prompt_weight, scope=scope, virtual_micro_batch=3)
    expected = gradients(loaded, alike_examples, plan_step(alike_examples, loss, 1000))
    step = plan_step(alike_examples, loss, budget, PREFIX)
    assert_same(gradients(loaded, alike_examples, step, layout=PREFIX), expected)
    # In any order: only neighbours share then, and less.
    turned = dataclasses.replace(step, micro_batches=[[part[::-1] for part in step.micro_batches[0]]])
    assert_same(gradients(loaded, alike_examples, turned, layout=PREFIX), expected)


@pytest.mark.parametrize("head", [{"label_smoothing": 0.2}, {"softcap": 2.0}], ids=str)
def test_shared_beginnings_under_what_a_head_does_beside(
    loaded: LoadedModel, alike_examples: list[EncodedExample], head: dict[str, float]
) -> None:
    loss = LossConfig(prompt_weight=0.1)
    changed = dataclasses.replace(loaded, head_options=head)
    expected = gradients(changed, alike_examples, plan_step(alike_examples, loss, 1000))
    found = gradients(changed, alike_examples, plan_step(alike_examples, loss, 1000, PREFIX), layout=PREFIX)
    assert_same(found, expected)


@pytest.mark.parametrize(
    "factor",
    [
        FactorConfig(kind="power"),
        FactorConfig(kind="focal", exponent=2),
        FactorConfig(kind="threshold", low=0.0025, high=0.5),
        FactorConfig(kind="entropy", top=20, divisor=3),
    ],
    ids=lambda factor: factor.label,
)
def test_a_factor_of_the_prediction_is_the_same_in_every_layout(
    loaded: LoadedModel, alike_examples: list[EncodedExample], factor: FactorConfig
) -> None:
    loss = LossConfig(prompt_weight=0.1, factor=factor)
    whole = plan_step(alike_examples, loss, 1000)
    expected = gradients(loaded, alike_examples, whole, factor=factor)
    assert_same(expected, by_full_logits(loaded, alike_examples, whole, factor))
    assert distance(expected[1], gradients(loaded, alike_examples, whole)[1]) > 1e-3, "it does something"
    for layout in LAYOUTS:
        for budget in (13, 30, 1000):
            step = plan_step(alike_examples, loss, budget, layout)
            assert_same(gradients(loaded, alike_examples, step, layout=layout, factor=factor), expected)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_roles_and_weights_of_the_data_are_the_same_in_every_layout(
    loaded: LoadedModel, alike_examples: list[EncodedExample], normalizer: str
) -> None:
    dice = np.random.default_rng(2)
    weighed = [
        dataclasses.replace(
            example,
            role_T=np.where(example.role_T == PROMPT, dice.choice([0, 2, 3, 4, 6], len(example.role_T)), 1).astype(
                "u1"
            ),
            weight_T=dice.choice([0.0, 0.5, 1.0, 3.0], len(example.token_T)) if number % 2 else None,
        )
        for number, example in enumerate(alike_examples)
    ]
    roles = RolesConfig(template=0, system=0.7)
    loss = LossConfig(prompt_weight=0.1, normalizer=normalizer, scope="micro", virtual_micro_batch=3, roles=roles)
    whole = plan_step(weighed, loss, 1000)
    expected = gradients(loaded, weighed, whole)
    assert distance(expected[1], by_full_logits(loaded, weighed, whole, FactorConfig())[1]) < 2e-6
    for layout in LAYOUTS:
        for budget in (13, 1000):
            assert_same(gradients(loaded, weighed, plan_step(weighed, loss, budget, layout), layout=layout), expected)


def by_full_logits(
    loaded: LoadedModel, examples: list[EncodedExample], step: Step, factor: FactorConfig
) -> tuple[StepLosses, Tensor]:
    """The definition, example by example from transformers' own logits, the factor taken as a constant."""
    loaded.model.zero_grad()
    loaded.model.set_attn_implementation("sdpa")
    losses, terms = {PROMPT: [], COMPLETION: []}, []
    for place, index in enumerate(step.example_E):
        example = examples[index]
        log_p_TV = loaded.model(input_ids=torch.from_numpy(example.token_T)[None].long()).logits[0, :-1].log_softmax(-1)
        target_T, role_T = torch.from_numpy(example.token_T[1:]).long(), example.role_T[1:]
        ce_T = -log_p_TV.gather(1, target_T[:, None]).squeeze(1)
        coefficient_T = torch.from_numpy(expand(example, step.coefficient_ER[place])[1:]).float()
        terms.append((coefficient_T * plain_factor(factor, log_p_TV.detach(), ce_T.detach()) * ce_T).sum())
        for role, found in losses.items():
            found += ce_T[torch.from_numpy(IS_COMPLETION_R[role_T] == (role == COMPLETION))].tolist()
    loss = torch.stack(terms).sum()
    loss.backward()
    means = {role: float(np.mean(found)) for role, found in losses.items()}
    gradient = flat_gradient(loaded.model)
    return StepLosses(loss=loss.item(), prompt_loss=means[PROMPT], completion_loss=means[COMPLETION]), gradient


def plain_factor(factor: FactorConfig, log_p_TV: Tensor, ce_T: Tensor) -> Tensor:
    p_T = (-ce_T).exp()
    if factor.kind == "none":
        return torch.ones_like(p_T)
    if factor.kind == "power":
        return p_T**factor.exponent
    if factor.kind == "focal":
        return (1 - p_T) ** factor.exponent
    if factor.kind == "threshold":
        return ((factor.low <= p_T) & (p_T <= factor.high)).float()
    top_TV = log_p_TV.topk(factor.top or log_p_TV.shape[1]).values.softmax(-1)
    return (-(top_TV * top_TV.log()).sum(-1) / factor.divisor) ** factor.exponent


def test_a_shared_token_is_computed_once(loaded: LoadedModel, alike_examples: list[EncodedExample]) -> None:
    step = plan_step(alike_examples, LossConfig(prompt_weight=0.1), 1000, PREFIX)
    loaded.model.set_attn_implementation(ROW_ATTENTION)
    work = accumulate_gradients(WeightedModel(loaded, layout=PREFIX), alike_examples, step, device=CPU)[1]
    beginnings = {
        tuple(example.token_T[:end]) for example in alike_examples for end in range(1, len(example.token_T) + 1)
    }
    # All but the first tokens of an example are predicted: those of two beginnings here.
    assert work.predictions == len(beginnings) - 2
    # Those that nothing follows predict nothing.
    followed = {beginning[:-1] for beginning in beginnings if len(beginning) > 1}
    assert work.tokens == work.last_tokens == len(followed) < len(beginnings)
    assert work.pairs == work.last_pairs == sum(map(len, followed))


def test_the_work_of_a_step_leaves_padding_out(loaded: LoadedModel, examples: list[EncodedExample]) -> None:
    lengths = [len(example.token_T) for example in examples]
    for layout in LAYOUTS:
        step = plan_step(examples, LossConfig(prompt_weight=0.1), 64, layout)
        loaded.model.set_attn_implementation("sdpa" if layout == PADDED else ROW_ATTENTION)
        work = accumulate_gradients(WeightedModel(loaded, layout=layout), examples, step, device=CPU)[1]
        # An example's last token predicts nothing, so it is no input either.
        assert work.tokens == work.predictions == sum(lengths) - len(lengths)
        assert work.pairs == sum(length * (length - 1) // 2 for length in lengths)


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
