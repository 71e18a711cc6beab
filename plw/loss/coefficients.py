"""Token coefficients: every weighting scheme becomes one number per token, worked out from roles alone.

The loss of an optimizer step is the sum over its tokens of c_t * CE_t with c_t = w_t / (Z n). The coefficients know the
examples and their shuffled order; how the examples are laid out on the machine never enters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plw.config.loss import LossConfig
from plw.data.encoding import COMPLETION, PROMPT
from plw.errors import UserError

NAMED_AT_MOST = 8


@dataclass(frozen=True, kw_only=True)
class RoleCoefficients:
    """A step's coefficients: within an example, all predicted tokens of a role share one."""

    coefficient_ER: NDArray[np.float64]
    """[examples, 2]: the coefficient of a PROMPT and of a COMPLETION token."""
    empty_units: int
    """Units (step, virtual micro-batch or example, by scope) whose Z is 0: they contribute nothing."""


def predicted_counts(role_T: NDArray[np.uint8]) -> tuple[int, int]:
    """PROMPT and COMPLETION tokens that something predicts: all but the first token."""
    completions = int(np.count_nonzero(role_T[1:] == COMPLETION))
    return max(0, len(role_T) - 1) - completions, completions


def role_coefficients(
    count_ER: NDArray[np.int64], loss: LossConfig, *, names: Sequence[str] | None = None
) -> RoleCoefficients:
    """Coefficients by example and role.

    Z is summed over a unit: the step (scope ``batch``), ``virtual_micro_batch`` consecutive examples (``micro``; the
    last may be shorter) or one example (``example``); n is the number of units. A unit with Z = 0 contributes
    nothing but counts in n, as an empty micro-batch counted among the accumulation steps of the Hugging Face Trainer.

    Args:
        count_ER: [examples, 2] predicted PROMPT and COMPLETION tokens, in the shuffled order.
        loss: weights, normalizer, scope.
        names: what the message calls the examples: file and row of each.

    Raises:
        UserError: no token has a coefficient.
    """
    weight_R = np.array([loss.prompt_weight, loss.response_weight])
    counted_R = {
        "nonzero": (weight_R != 0).astype(np.float64),
        "weights": weight_R,
        "completion": np.array([0.0, 1.0]),
    }[loss.normalizer]
    unit_E = _units(len(count_ER), loss)
    units = int(unit_E[-1]) + 1 if len(unit_E) else 0
    z_U = np.bincount(unit_E, weights=count_ER @ counted_R, minlength=units)
    scale_U = np.divide(1.0, z_U * units, out=np.zeros(units), where=z_U > 0)
    coefficient_ER = scale_U[unit_E][:, None] * weight_R
    if not (coefficient_ER * count_ER).any():
        raise UserError(_no_weight(len(count_ER), loss, names))
    return RoleCoefficients(coefficient_ER=coefficient_ER, empty_units=int(np.count_nonzero(z_U == 0)))


def expand(role_T: NDArray[np.uint8], coefficient_R: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of an example's tokens from those of its roles; position 0 is 0."""
    coefficient_T: NDArray[np.float64] = coefficient_R[role_T]
    coefficient_T[:1] = 0.0
    return coefficient_T


def _units(examples: int, loss: LossConfig) -> NDArray[np.int64]:
    size = {"batch": max(1, examples), "micro": loss.virtual_micro_batch, "example": 1}[loss.scope]
    return np.arange(examples) // size


def _no_weight(examples: int, loss: LossConfig, names: Sequence[str] | None) -> str:
    names = [str(number) for number in range(1, examples + 1)] if names is None else names
    more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
    return (
        f"an optimizer step has no token with weight at loss.prompt_weight={loss.prompt_weight:g}, "
        f"loss.response_weight={loss.response_weight:g}: examples {', '.join(names[:NAMED_AT_MOST])}{more}; "
        "their prompts may fill recipe.max_length"
    )


assert (PROMPT, COMPLETION) == (0, 1), "roles index the columns of coefficient_ER"
