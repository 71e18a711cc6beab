"""The plan: every example once an epoch, budgets kept, and coefficients that do not know the layout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from plw.config.training import LossConfig, RecipeConfig
from plw.data.encoding import EncodedExample
from plw.errors import UserError
from plw.loss.coefficients import step_coefficients
from plw.train.plan import micro_batches, plan_training


def make_examples(lengths: list[int], prompt: int = 3) -> list[EncodedExample]:
    return [
        EncodedExample(token_T=np.arange(length, dtype=np.int32), role_T=(np.arange(length) >= prompt).astype(np.uint8))
        for length in lengths
    ]


def recipe(**fields: object) -> RecipeConfig:
    return RecipeConfig(name="r", **{"epochs": 2, "batch_size": 4, **fields})  # type: ignore[arg-type]


@given(length_E=st.lists(st.integers(1, 60), max_size=30), budget=st.integers(1, 200))
def test_micro_batches_partition_within_the_budget(length_E: list[int], budget: int) -> None:
    parts = micro_batches(np.array(length_E, dtype=np.int64), budget)
    assert sorted(np.concatenate([*parts, np.array([], dtype=np.int64)]).tolist()) == list(range(len(length_E)))
    for part in parts:
        padded = len(part) * max(length_E[i] for i in part)
        assert padded <= budget or len(part) == 1


@given(lengths=st.lists(st.integers(5, 40), min_size=1, max_size=23), seed=st.integers(0, 5))
def test_each_epoch_sees_each_example_once(lengths: list[int], seed: int) -> None:
    examples = make_examples(lengths)
    plan = plan_training(examples, LossConfig(), recipe(), seed=seed, token_budget=64)
    for epoch in (1, 2):
        steps = [step for step in plan.steps if step.epoch == epoch]
        assert sorted(np.concatenate([step.example_E for step in steps]).tolist()) == list(range(len(lengths)))
        assert all(len(step.example_E) == 4 for step in steps[:-1])
        assert sum(step.tokens for step in steps) == sum(lengths)


def test_epochs_and_seeds_shuffle_differently() -> None:
    examples = make_examples([10] * 40)
    plans = [plan_training(examples, LossConfig(), recipe(batch_size=40), seed=s, token_budget=64) for s in (0, 0, 1)]
    orders = [step.example_E.tolist() for plan in plans for step in plan.steps]
    assert orders[:2] == orders[2:4]
    assert len({tuple(order) for order in orders}) == 4
    assert plans[0].digest == plans[1].digest != plans[2].digest


@pytest.mark.parametrize("scope", ["batch", "micro", "example"])
def test_coefficients_follow_the_shuffled_order_and_not_the_layout(scope: str) -> None:
    loss = LossConfig(prompt_weight=0.1, scope=scope, virtual_micro_batch=2)
    examples = make_examples([7, 30, 12, 5, 22, 9, 16, 40, 11])
    plans = [plan_training(examples, loss, recipe(), seed=3, token_budget=budget) for budget in (1, 50, 10_000)]
    assert plans[0].digest == plans[1].digest == plans[2].digest
    for step in plans[0].steps:
        expected = step_coefficients([examples[i].role_T for i in step.example_E], loss)
        for place, coefficient_T in enumerate(expected.coefficient_T):
            role_T: NDArray[np.uint8] = examples[step.example_E[place]].role_T
            np.testing.assert_array_equal(step.coefficient_ER[place][role_T][1:], coefficient_T[1:])


def test_examples_without_weight_go_through_no_model() -> None:
    examples = [*make_examples([8, 8, 8]), *make_examples([8], prompt=8)]
    plan = plan_training(examples, LossConfig(scope="example"), recipe(), seed=0, token_budget=1000)
    for step in plan.steps:
        (places,) = step.micro_batches
        assert sorted(step.example_E[places].tolist()) == [0, 1, 2]
    assert plan.empty_units == 2


def test_warm_up_is_rounded_up_as_transformers_does() -> None:
    plan = plan_training(make_examples([8] * 40), LossConfig(), recipe(warmup_ratio=0.03), seed=0, token_budget=64)
    assert (len(plan.steps), plan.warmup_steps) == (20, 1)


def test_mistakes_are_one_line() -> None:
    with pytest.raises(UserError, match="no examples to train on"):
        plan_training([], LossConfig(), recipe(), seed=0, token_budget=64)
    with pytest.raises(UserError, match=r"examples \d, \d, \d, \d;"):
        plan_training(make_examples([8] * 8, prompt=8), LossConfig(), recipe(), seed=0, token_budget=64)
