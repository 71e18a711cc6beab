"""Coefficients: equal to the definition written as a double loop, for every normalizer and scope."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plw.config.loss import NORMALIZERS, ROLES, SCOPES, LossConfig, RolesConfig
from plw.data.encoding import IS_COMPLETION_R, EncodedExample
from plw.errors import UserError
from plw.loss.coefficients import has_weight, role_sums
from plw.testing.coefficients import step_coefficients

weights = st.sampled_from([0.0, 5e-4, 0.1, 0.3, 1.0])
configs = st.builds(
    LossConfig,
    prompt_weight=weights,
    response_weight=st.sampled_from([0.2, 1.0]),
    roles=st.builds(RolesConfig, **{role: st.none() | weights for role in ROLES if role != "assistant"}),
    normalizer=st.sampled_from(NORMALIZERS),
    scope=st.sampled_from(SCOPES),
    virtual_micro_batch=st.integers(1, 4),
)
example = st.lists(
    st.tuples(st.integers(0, len(ROLES) - 1), st.sampled_from([0.0, 0.5, 1.0, 2.0])), min_size=1, max_size=7
)


def by_definition(examples: list[list[tuple[str, float]]], loss: LossConfig) -> tuple[list[list[float]], int]:
    """c_t = w_t / (Z n), read off the table of the design, token by token."""
    size = {"batch": len(examples), "micro": loss.virtual_micro_batch, "example": 1}[loss.scope]
    units = [examples[first : first + size] for first in range(0, len(examples), size)]
    coefficients, empty = [], 0
    for unit in units:
        z = 0.0
        rows = []
        for tokens in unit:
            row = [0.0]
            for role, of_data in tokens[1:]:
                is_completion = role in ("assistant", "thinking")
                own = getattr(loss.roles, role)
                weight = own if own is not None else loss.response_weight if is_completion else loss.prompt_weight
                weight *= of_data
                z += {"nonzero": weight != 0, "weights": weight, "completion": is_completion}[loss.normalizer]
                row.append(weight)
            rows.append(row)
        empty += z == 0
        coefficients += [[weight / (z * len(units)) if z else 0.0 for weight in row] for row in rows]
    return coefficients, empty


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(examples=st.lists(example, min_size=1, max_size=9), loss=configs)
def test_equal_to_the_definition(examples: list[list[tuple[int, float]]], loss: LossConfig) -> None:
    expected, empty = by_definition([[(ROLES[role], weight) for role, weight in tokens] for tokens in examples], loss)
    roles = [np.array([role for role, _ in tokens], dtype=np.uint8) for tokens in examples]
    data_weights = [np.array([weight for _, weight in tokens]) for tokens in examples]
    # Those of an example that the data weigh nowhere may be left unsaid.
    unsaid = [None if (weight_T == 1).all() else weight_T for weight_T in data_weights]
    if not any(any(row) for row in expected):
        with pytest.raises(UserError, match="no token with weight"):
            step_coefficients(roles, loss, weights=unsaid)
        return
    result = step_coefficients(roles, loss, weights=unsaid)
    assert result.empty_units == empty
    for row, coefficient_T in zip(expected, result.coefficient_T, strict=True):
        np.testing.assert_allclose(coefficient_T, row, rtol=1e-12)


@given(examples=st.lists(example, min_size=1, max_size=9), share=st.sampled_from([0.05, 0.5]))
def test_a_prompts_share_is_the_same_in_every_example(examples: list[list[tuple[int, float]]], share: float) -> None:
    loss = LossConfig(prompt_weight=0.3, prompt_share=share, normalizer="weights")
    roles = [np.array([role for role, _ in tokens], dtype=np.uint8) for tokens in examples]
    if not any(IS_COMPLETION_R[role_T[1:]].any() for role_T in roles):
        return
    for role_T, coefficient_T in zip(roles, step_coefficients(roles, loss).coefficient_T, strict=True):
        is_completion_T = IS_COMPLETION_R[role_T]
        is_completion_T[0] = False
        if is_completion_T.any() and not is_completion_T[1:].all():
            whole = coefficient_T.sum()
            assert coefficient_T[~is_completion_T].sum() / whole == pytest.approx(share)


def test_a_prompt_that_fills_the_length_contributes_nothing_and_is_counted() -> None:
    full, usual = np.zeros(6, dtype=np.uint8), np.array([0, 0, 1, 1], dtype=np.uint8)
    result = step_coefficients([usual, full], LossConfig(prompt_weight=0, scope="example"))
    assert result.empty_units == 1
    assert result.coefficient_T[1].tolist() == [0] * 6
    # The empty example still counts in n = 2.
    assert result.coefficient_T[0].tolist() == [0, 0, 0.25, 0.25]


def test_which_examples_have_a_token_that_counts() -> None:
    """Not one without tokens of the role, nor one whose tokens of it the data leave out."""
    roles = [np.array([0, 0, 1]), np.array([0, 0, 0]), np.array([0, 1, 1])]
    examples = [
        EncodedExample(token_T=np.zeros(3, np.int32), role_T=role_T.astype(np.uint8), weight_T=weight_T)
        for role_T, weight_T in zip(roles, (None, None, np.array([1.0, 0.0, 0.0])), strict=True)
    ]
    coefficient_ER = np.tile(np.array(ROLES) == ROLES[1], (3, 1)).astype(float)
    assert has_weight(role_sums(examples), coefficient_ER).tolist() == [True, False, False]


def test_a_step_without_weight_names_its_examples() -> None:
    full = [np.zeros(6, dtype=np.uint8)] * 10
    with pytest.raises(UserError, match=r"examples 11, 12, 13, 14, 15, 16, 17, 18 and 2 more"):
        step_coefficients(full, LossConfig(prompt_weight=0), names=[str(n) for n in range(11, 21)])
    with pytest.raises(UserError, match=r"examples 1, 2, 3, 4, 5, 6, 7, 8;"):
        step_coefficients(full[:8], LossConfig(prompt_weight=0))
    with pytest.raises(UserError, match=r"examples 1, 2;"):
        step_coefficients(full[:2], LossConfig(prompt_weight=0))


def test_a_step_without_weight_says_whether_the_data_or_the_prompts_length_left_none() -> None:
    roles = [np.array([0, 0, 1, 1], dtype=np.uint8)] * 2
    left_out = [np.array([1.0, 1.0, 0.0, 0.0])] * 2
    for normalizer in NORMALIZERS:
        # Also where Z counts completions, whatever their weights, and so is not 0.
        with pytest.raises(UserError, match="the weights in the data leave out all of their tokens that would count"):
            step_coefficients(roles, LossConfig(prompt_weight=0, normalizer=normalizer), weights=left_out)
    # Prompt tokens that the data leave out, and that count nothing anyway, are no reason.
    with pytest.raises(UserError, match=r"their prompts may fill recipe\.max_length"):
        step_coefficients([np.zeros(4, dtype=np.uint8)], LossConfig(prompt_weight=0), weights=[np.zeros(4)])
    # Nor are they where others stay and the normalizer counts completions, of which there is none.
    half = [np.array([1.0, 1.0, 0.0, 0.0])]
    with pytest.raises(UserError, match=r"their prompts may fill recipe\.max_length"):
        step_coefficients([np.zeros(4, np.uint8)], LossConfig(prompt_weight=1, normalizer="completion"), weights=half)


def test_virtual_micro_batches_are_consecutive_and_the_last_may_be_short() -> None:
    roles = [np.array([0, 1], dtype=np.uint8)] * 5
    result = step_coefficients(roles, LossConfig(scope="micro", virtual_micro_batch=2))
    assert [float(c[1]) for c in result.coefficient_T] == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 3])
