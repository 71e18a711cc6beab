"""Coefficients token by token, as the loss is defined; training keeps them by example and role."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plw.config.loss import LossConfig
from plw.loss.coefficients import expand, predicted_counts, role_coefficients


@dataclass(frozen=True, kw_only=True)
class StepCoefficients:
    """The coefficients of one optimizer step, token by token."""

    coefficient_T: list[NDArray[np.float64]]
    """One array per example, aligned with its tokens; position 0 is 0, because nothing predicts it."""
    empty_units: int
    """Units (step, virtual micro-batch or example, by scope) whose Z is 0: they contribute nothing."""


def step_coefficients(
    roles: Sequence[NDArray[np.uint8]], loss: LossConfig, *, names: Sequence[str] | None = None
) -> StepCoefficients:
    """c_t of every token of one optimizer step.

    Args:
        roles: role_T of each example of the step, in the shuffled order.
        loss: weights, normalizer, scope.
        names: what the message calls the examples; their places in the step if None.

    Raises:
        UserError: no token of the step has a coefficient; the line names the examples.
    """
    count_ER = np.array([predicted_counts(role_T) for role_T in roles], dtype=np.int64).reshape(-1, 2)
    short = role_coefficients(count_ER, loss, names=names)
    expanded = [expand(role_T, c_R) for role_T, c_R in zip(roles, short.coefficient_ER, strict=True)]
    return StepCoefficients(coefficient_T=expanded, empty_units=short.empty_units)
