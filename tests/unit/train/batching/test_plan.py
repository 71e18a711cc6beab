"""The plan: every example once an epoch, budgets kept, and coefficients that do not know the layout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from plw.config.loss import LossConfig
from plw.config.study import PACKED, PADDED, PREFIX
from plw.config.training import RecipeConfig
from plw.data.encoding import EncodedExample
from plw.errors import UserError
from plw.loss.coefficients import expand
from plw.testing.coefficients import step_coefficients
from plw.train.batching.plan import plan_training


def make_examples(lengths: list[int], prompt: int = 3) -> list[EncodedExample]:
    return [
        EncodedExample(token_T=np.arange(length, dtype=np.int32), role_T=(np.arange(length) >= prompt).astype(np.uint8))
        for length in lengths
    ]


def recipe(**fields: object) -> RecipeConfig:
    return RecipeConfig(name="r", **{"epochs": 2, "batch_size": 4, **fields})  # type: ignore[arg-type]


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
    plans = [plan_training(examples, loss, recipe(), seed=3, token_budget=budget) for budget in (40, 50, 10_000)]
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
        ((places,),) = step.micro_batches
        assert sorted(step.example_E[places].tolist()) == [0, 1, 2]
    assert plan.empty_units == 2


@pytest.mark.parametrize(("ratio", "warmup"), [(0.0, 0), (0.03, 1), (0.25, 5), (0.26, 6), (1.0, 20)])
def test_warm_up_is_rounded_up_as_transformers_does(ratio: float, warmup: int) -> None:
    plan = plan_training(make_examples([8] * 40), LossConfig(), recipe(warmup_ratio=ratio), seed=0, token_budget=64)
    assert (len(plan.steps), plan.warmup_steps) == (20, warmup)


def test_the_digest_is_of_all_that_decides_the_gradients() -> None:
    def digest(*examples: EncodedExample, **loss: float) -> str:
        ones = recipe(epochs=1, batch_size=1)
        return plan_training(examples, LossConfig(**loss), ones, seed=0, token_budget=64).digest  # type: ignore[arg-type]

    def example(tokens: list[int], roles: list[int], weights: list[float] | None = None) -> EncodedExample:
        weight_T = None if weights is None else np.array(weights)
        return EncodedExample(token_T=np.array(tokens, np.int32), role_T=np.array(roles, np.uint8), weight_T=weight_T)

    one, other = example([1, 2, 3], [0, 1, 1]), example([4, 5], [0, 1])
    assert digest(one, other) == digest(one, other)
    different = [
        digest(one, other),
        digest(other, one),
        digest(example([1, 2, 9], [0, 1, 1]), other),
        digest(example([1, 2, 3], [0, 0, 1]), other),
        digest(example([1, 2, 3], [0, 1, 1], [1, 1, 0.5]), other),
        digest(example([1, 2, 3], [0, 1, 1], [1, 0.5, 1]), other),
        digest(one, other, prompt_weight=0.1),
    ]
    assert len(set(different)) == len(different)


def test_the_layout_takes_every_weighted_example_once_in_any_number_of_processes() -> None:
    examples = [*make_examples([7, 30, 12, 5, 22, 9, 16, 40, 11]), *make_examples([20], prompt=20)]
    plans = [
        plan_training(
            examples, LossConfig(), recipe(batch_size=10), seed=1, token_budget=44, processes=n, layout=layout
        )
        for n in (1, 2, 3, 7)
        for layout in (PADDED, PACKED, PREFIX)
    ]
    assert len({plan.digest for plan in plans}) == 1
    for plan in plans:
        for step in plan.steps:
            assert len({len(parts) for parts in step.micro_batches}) == 1
            places = np.concatenate([part for parts in step.micro_batches for part in parts])
            assert sorted(step.example_E[places].tolist()) == list(range(9))


@pytest.mark.parametrize(("layout", "turns"), [(PADDED, 4), (PACKED, 3), (PREFIX, 1)])
def test_the_budget_holds_what_the_layout_computes(layout: str, turns: int) -> None:
    """Padding counts where there is some, and what two examples begin with alike once where it stands once."""
    examples = make_examples([20, 19, 11, 10, 9, 8])
    (step,) = plan_training(
        examples, LossConfig(), recipe(epochs=1, batch_size=6), seed=0, token_budget=33, layout=layout
    ).steps
    assert len(step.micro_batches[0]) == turns
    if layout != PREFIX:
        for part in step.micro_batches[0]:
            length_E = [len(examples[i].token_T) for i in step.example_E[part]]
            assert (sum(length_E) if layout == PACKED else len(part) * max(length_E)) <= 33


def test_a_chat_of_several_turns_has_its_roles_coefficients_at_their_places() -> None:
    roles = [0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1]
    chat = EncodedExample(token_T=np.arange(11, dtype=np.int32), role_T=np.array(roles, dtype=np.uint8))
    loss = LossConfig(prompt_weight=0.25, normalizer="weights")
    (step,) = plan_training([chat], loss, recipe(epochs=1), seed=0, token_budget=11).steps
    # 5 prompt tokens that something predicts, and 5 completion tokens: Z = 5 * 0.25 + 5.
    expected = [0.0, *(1 / 6.25 if role else 0.25 / 6.25 for role in roles[1:])]
    np.testing.assert_allclose(expand(chat, step.coefficient_ER[0]), expected)


def test_weights_below_0_need_leave() -> None:
    example = EncodedExample(
        token_T=np.arange(4, dtype=np.int32), role_T=np.array([0, 1, 1, 1], "u1"), weight_T=np.array([1, 1, -1, 1.0]),
        where="data.json: row 7",
    )  # fmt: skip
    with pytest.raises(UserError, match=r"data\.json: row 7: .* -1; .*allow_negative"):
        plan_training([example], LossConfig(), recipe(), seed=0, token_budget=8)
    plan = plan_training([example], LossConfig(allow_negative=True), recipe(epochs=1), seed=0, token_budget=8)
    np.testing.assert_allclose(expand(example, plan.steps[0].coefficient_ER[0]), [0, 1 / 3, -1 / 3, 1 / 3])


def test_weights_of_the_data_that_leave_out_everything_are_not_blamed_on_the_length() -> None:
    def example(weight: float) -> EncodedExample:
        return EncodedExample(
            token_T=np.arange(4, dtype=np.int32), role_T=np.array([0, 1, 1, 1], "u1"), weight_T=np.full(4, weight)
        )

    with pytest.raises(UserError, match=r"2 examples .*the weights in the data leave out all that would count"):
        plan_training([example(0.0), example(0.0)], LossConfig(), recipe(), seed=0, token_budget=8)
    ones = recipe(epochs=1, batch_size=1)
    with pytest.raises(UserError, match="examples 2; the weights in the data leave out all of their tokens"):
        plan_training([example(1.0), example(0.0)], LossConfig(), ones, seed=0, token_budget=8)


def test_mistakes_are_one_line() -> None:
    def plan(examples: list[EncodedExample], **fields: int) -> None:
        plan_training(examples, LossConfig(), recipe(), seed=0, **{"token_budget": 64, **fields})

    with pytest.raises(UserError, match="no examples to train on"):
        plan([])
    with pytest.raises(UserError, match=r"none of the dataset's 8 examples .*recipe\.max_length"):
        plan(make_examples([8] * 8, prompt=8))
    with pytest.raises(UserError, match=r"step .* weight .*examples \d+, \d+, \d+, \d+;"):
        plan([*make_examples([8] * 50, prompt=8), *make_examples([8])])
    with pytest.raises(UserError, match=r"token_budget=64 is smaller than .* 3 with 65 tokens"):
        plan(make_examples([8, 30, 65, 64]))
    with pytest.raises(UserError, match=r"execution.processes=5 is more than the 4 examples"):
        plan(make_examples([8] * 20), processes=5)
    with pytest.raises(UserError, match=r"execution.processes=4 is more than the 3 examples"):
        plan(make_examples([8] * 3), processes=4)
