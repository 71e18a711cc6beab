"""Token coefficients: every weighting scheme becomes one number per token, worked out from roles and data alone.

The loss of an optimizer step is the sum over its tokens of c_t * CE_t with c_t = w_t / (Z n), where w_t is the weight
of the token's role times the data's own weight of the token. The coefficients know the examples and their shuffled
order; how the examples are laid out on the machine never enters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plw.config.loss import ROLES, LossConfig
from plw.data.encoding import IS_COMPLETION_R, EncodedExample
from plw.errors import UserError

MAX_NAMED_EXAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class RoleSums:
    """What the predicted tokens of each example add up to, by role, before any weight of a role."""

    count_ER: NDArray[np.int64]
    """Tokens: all but the first of an example."""
    weighted_ER: NDArray[np.int64]
    """Those to which the data give a weight that is not 0."""
    weight_ER: NDArray[np.float64]
    """Sum of the data's weights, 1 a token where they give none."""

    def of(self, chosen_E: NDArray[np.int64]) -> "RoleSums":
        """The sums of some examples, in their order."""
        return RoleSums(
            count_ER=self.count_ER[chosen_E], weighted_ER=self.weighted_ER[chosen_E], weight_ER=self.weight_ER[chosen_E]
        )


@dataclass(frozen=True, kw_only=True)
class RoleCoefficients:
    """A step's coefficients: within an example, all predicted tokens of a role share one, times the data's weight."""

    coefficient_ER: NDArray[np.float64]
    """[examples, roles], in the order of ``ROLES``."""
    empty_units: int
    """Units (step, virtual micro-batch or example, by scope) whose Z is 0: they contribute nothing."""


def role_sums(examples: Sequence[EncodedExample]) -> RoleSums:
    """The sums of all examples, worked out once for a run."""
    count_ER = np.zeros((len(examples), len(ROLES)), dtype=np.int64)
    for e, example in enumerate(examples):
        count_ER[e] = np.bincount(example.role_T[1:], minlength=len(ROLES))
    weighted_ER, weight_ER = count_ER.copy(), count_ER.astype(np.float64)
    for e, example in enumerate(examples):
        if example.weight_T is not None:
            role_T, weight_T = example.role_T[1:], example.weight_T[1:]
            weighted_ER[e] = np.bincount(role_T[weight_T != 0], minlength=len(ROLES))
            weight_ER[e] = np.bincount(role_T, weights=weight_T, minlength=len(ROLES))
    return RoleSums(count_ER=count_ER, weighted_ER=weighted_ER, weight_ER=weight_ER)


def role_coefficients(sums: RoleSums, loss: LossConfig, *, names: Sequence[str] | None = None) -> RoleCoefficients:
    """Coefficients by example and role.

    Z is summed over a unit: the step (scope ``batch``), ``virtual_micro_batch`` consecutive examples (``micro``; the
    last may be shorter) or one example (``example``); n is the number of units. A unit with Z = 0 contributes
    nothing but counts in n, as an empty micro-batch counted among the accumulation steps of the Hugging Face Trainer.

    Args:
        sums: of the step's examples, in the shuffled order.
        loss: weights, normalizer, scope.
        names: what the message calls the examples: file and row of each.

    Raises:
        UserError: no token has a coefficient.
    """
    weight_ER = role_weights(sums, loss)
    z_E = {
        "nonzero": lambda: (sums.weighted_ER * (weight_ER != 0)).sum(axis=1),
        "weights": lambda: (sums.weight_ER * weight_ER).sum(axis=1),
        "completion": lambda: sums.count_ER[:, IS_COMPLETION_R].sum(axis=1),
    }[loss.normalizer]().astype(np.float64)
    unit_E = _units(len(z_E), loss)
    units = int(unit_E[-1]) + 1 if len(unit_E) else 0
    z_U = np.bincount(unit_E, weights=z_E, minlength=units)
    scale_U = np.divide(1.0, z_U * units, out=np.zeros(units), where=z_U > 0)
    coefficient_ER = scale_U[unit_E][:, None] * weight_ER
    if not has_weight(sums, coefficient_ER).any():
        why = "their prompts may fill recipe.max_length"
        if emptied_by_data(sums, weight_ER):
            why = "the weights in the data leave out all of their tokens that would count"
        raise UserError(f"{_no_weight(len(z_E), loss, names)}; {why}")
    return RoleCoefficients(coefficient_ER=coefficient_ER, empty_units=int(np.count_nonzero(z_U == 0)))


def role_weights(sums: RoleSums, loss: LossConfig) -> NDArray[np.float64]:
    """λ of each example and role, [examples, roles].

    They are the same for every example, but under ``loss.prompt_share``: there an example's prompt weights are scaled
    so that its prompt has that share of the example's weights.
    """
    weight_R = np.array([loss.role_weight(role) for role in ROLES])
    weight_ER = np.broadcast_to(weight_R, sums.count_ER.shape)
    if loss.prompt_share is None:
        return weight_ER
    mass_ER = sums.weight_ER * weight_ER
    completion_E, prompt_E = mass_ER[:, IS_COMPLETION_R].sum(axis=1), mass_ER[:, ~IS_COMPLETION_R].sum(axis=1)
    odds = loss.prompt_share / (1 - loss.prompt_share)
    scale_E = np.divide(odds * completion_E, prompt_E, out=np.zeros(len(prompt_E)), where=prompt_E > 0)
    return np.where(IS_COMPLETION_R, weight_ER, weight_ER * scale_E[:, None])


def has_weight(sums: RoleSums, coefficient_ER: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which examples have a token with a coefficient."""
    has_E: NDArray[np.bool_] = ((coefficient_ER != 0) & (sums.weighted_ER > 0)).any(axis=1)
    return has_E


def emptied_by_data(sums: RoleSums, weight_ER: NDArray[np.float64]) -> bool:
    """Whether there are tokens whose role counts, and the data's weights leave all of them out."""
    counting_ER = weight_ER != 0
    return bool(sums.count_ER[counting_ER].any() and not sums.weighted_ER[counting_ER].any())


def expand(example: EncodedExample, coefficient_R: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of an example's tokens from those of its roles; position 0 is 0."""
    coefficient_T: NDArray[np.float64] = coefficient_R[example.role_T]
    if example.weight_T is not None:
        coefficient_T *= example.weight_T
    coefficient_T[:1] = 0.0
    return coefficient_T


def _units(examples: int, loss: LossConfig) -> NDArray[np.int64]:
    size = {"batch": max(1, examples), "micro": loss.virtual_micro_batch, "example": 1}[loss.scope]
    return np.arange(examples) // size


def _no_weight(examples: int, loss: LossConfig, names: Sequence[str] | None) -> str:
    names = [str(number) for number in range(1, examples + 1)] if names is None else names
    more = f" and {len(names) - MAX_NAMED_EXAMPLES} more" if len(names) > MAX_NAMED_EXAMPLES else ""
    return (
        f"an optimizer step has no token with weight at {loss.weights_text}: examples "
        f"{', '.join(names[:MAX_NAMED_EXAMPLES])}{more}"
    )
