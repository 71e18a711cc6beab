"""Coefficients: equal to the definition written as a double loop, for every normalizer and scope."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from plw.config.loss import NORMALIZERS, SCOPES, LossConfig
from plw.errors import UserError
from plw.testing.coefficients import step_coefficients

weights = st.sampled_from([0.0, 5e-4, 0.1, 0.3, 1.0])
configs = st.builds(
    LossConfig,
    prompt_weight=weights,
    response_weight=st.sampled_from([0.2, 1.0]),
    normalizer=st.sampled_from(NORMALIZERS),
    scope=st.sampled_from(SCOPES),
    virtual_micro_batch=st.integers(1, 4),
)
example = st.lists(st.integers(0, 1), min_size=1, max_size=7).map(lambda roles: np.array(roles, dtype=np.uint8))


def by_definition(roles: list[NDArray[np.uint8]], loss: LossConfig) -> tuple[list[list[float]], int]:
    """c_t = w_t / (Z n), read off the table of the design, token by token."""
    size = {"batch": len(roles), "micro": loss.virtual_micro_batch, "example": 1}[loss.scope]
    units = [roles[first : first + size] for first in range(0, len(roles), size)]
    coefficients, empty = [], 0
    for unit in units:
        z = 0.0
        for role_T in unit:
            for role in role_T[1:]:
                weight = loss.response_weight if role else loss.prompt_weight
                z += {"nonzero": float(weight != 0), "weights": weight, "completion": float(role)}[loss.normalizer]
        empty += z == 0
        for role_T in unit:
            row = [0.0]
            for role in role_T[1:]:
                weight = loss.response_weight if role else loss.prompt_weight
                row.append(weight / (z * len(units)) if z else 0.0)
            coefficients.append(row)
    return coefficients, empty


@given(roles=st.lists(example, min_size=1, max_size=9), loss=configs)
def test_equal_to_the_definition(roles: list[NDArray[np.uint8]], loss: LossConfig) -> None:
    expected, empty = by_definition(roles, loss)
    if not any(any(row) for row in expected):
        with pytest.raises(UserError, match="no token with weight"):
            step_coefficients(roles, loss)
        return
    result = step_coefficients(roles, loss)
    assert result.empty_units == empty
    for row, coefficient_T in zip(expected, result.coefficient_T, strict=True):
        np.testing.assert_allclose(coefficient_T, row, rtol=1e-12)


def test_a_prompt_that_fills_the_length_contributes_nothing_and_is_counted() -> None:
    full, usual = np.zeros(6, dtype=np.uint8), np.array([0, 0, 1, 1], dtype=np.uint8)
    result = step_coefficients([usual, full], LossConfig(prompt_weight=0, scope="example"))
    assert result.empty_units == 1
    assert result.coefficient_T[1].tolist() == [0] * 6
    # The empty example still counts in n = 2.
    assert result.coefficient_T[0].tolist() == [0, 0, 0.25, 0.25]


def test_a_step_without_weight_names_its_examples() -> None:
    full = [np.zeros(6, dtype=np.uint8)] * 10
    with pytest.raises(UserError, match=r"examples 11, 12, 13, 14, 15, 16, 17, 18 and 2 more"):
        step_coefficients(full, LossConfig(prompt_weight=0), names=[str(n) for n in range(11, 21)])
    with pytest.raises(UserError, match=r"examples 1, 2;"):
        step_coefficients(full[:2], LossConfig(prompt_weight=0))


def test_virtual_micro_batches_are_consecutive_and_the_last_may_be_short() -> None:
    roles = [np.array([0, 1], dtype=np.uint8)] * 5
    result = step_coefficients(roles, LossConfig(scope="micro", virtual_micro_batch=2))
    assert [float(c[1]) for c in result.coefficient_T] == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 3])
