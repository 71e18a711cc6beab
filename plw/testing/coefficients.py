"""Coefficients token by token, as the loss is defined; training keeps them by example and role."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plw.config.loss import LossConfig
from plw.data.encoding import EncodedExample
from plw.loss.coefficients import expand, role_coefficients, role_sums


@dataclass(frozen=True, kw_only=True)
class StepCoefficients:
    """The coefficients of one optimizer step, token by token."""

    coefficient_T: list[NDArray[np.float64]]
    """One array per example, aligned with its tokens; position 0 is 0, because nothing predicts it."""
    empty_units: int
    """Units (step, virtual micro-batch or example, by scope) whose Z is 0: they contribute nothing."""


def step_coefficients(
    roles: Sequence[NDArray[np.uint8]],
    loss: LossConfig,
    *,
    weights: Sequence[NDArray[np.float64] | None] | None = None,
    names: Sequence[str] | None = None,
) -> StepCoefficients:
    """c_t of every token of one optimizer step.

    Args:
        roles: role_T of each example of the step, in the shuffled order.
        loss: weights, normalizer, scope.
        weights: the data's own of each example's tokens; 1 where None.
        names: what the message calls the examples; their places in the step if None.

    Raises:
        UserError: no token of the step has a coefficient; the line names the examples.
    """
    examples = [
        EncodedExample(token_T=np.zeros(len(role_T), dtype=np.int32), role_T=role_T, weight_T=weight_T)
        for role_T, weight_T in zip(roles, weights or [None] * len(roles), strict=True)
    ]
    short = role_coefficients(role_sums(examples), loss, names=names)
    expanded = [expand(example, c_R) for example, c_R in zip(examples, short.coefficient_ER, strict=True)]
    return StepCoefficients(coefficient_T=expanded, empty_units=short.empty_units)
