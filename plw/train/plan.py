"""The plan of a training run: every step's examples, coefficients and micro-batches, made before training starts."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plw.config.training import LossConfig, RecipeConfig
from plw.data.encoding import EncodedExample
from plw.errors import UserError
from plw.loss.coefficients import predicted_counts, role_coefficients


@dataclass(frozen=True, kw_only=True)
class Step:
    """One optimizer step."""

    epoch: int
    """From 1."""
    example_E: NDArray[np.int64]
    """Indices into the dataset, in the shuffled order."""
    coefficient_ER: NDArray[np.float64]
    """Coefficient of each example's prompt and completion tokens."""
    micro_batches: list[NDArray[np.int64]]
    """Places in ``example_E`` that go through the model together; examples without weight are in none."""
    tokens: int
    """Tokens of the step's examples."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """All steps in order."""

    steps: list[Step]
    warmup_steps: int
    empty_units: int
    """Units of the loss with Z = 0 in the whole run."""
    digest: str
    """SHA-256 of what decides the gradients: examples, their order, coefficients. The layout is not part of it."""


def plan_training(
    examples: Sequence[EncodedExample], loss: LossConfig, recipe: RecipeConfig, *, seed: int, token_budget: int
) -> TrainingPlan:
    """Plan a run from lengths, roles and seed.

    Each epoch has its own order, shuffled from (seed, epoch), cut into steps of ``recipe.batch_size`` examples. The
    last step of an epoch takes what is left over, as in the Hugging Face Trainer. Warm-up lasts
    ceil(warmup_ratio * steps).

    Raises:
        UserError: no examples, or a step in which no token has weight (the line names the rows from 1).
    """
    if not examples:
        raise UserError("the dataset has no examples to train on; give it at least one record")
    length_E = np.array([len(example.token_T) for example in examples], dtype=np.int64)
    count_ER = np.array([predicted_counts(example.role_T) for example in examples], dtype=np.int64)
    digest = hashlib.sha256()
    for example in examples:
        digest.update(len(example.token_T).to_bytes(8, "little") + example.token_T.tobytes() + example.role_T.tobytes())
    steps, empty_units = [], 0
    for epoch in range(1, recipe.epochs + 1):
        order_E = np.random.default_rng([seed, epoch]).permutation(len(examples))
        for first in range(0, len(order_E), recipe.batch_size):
            example_E = order_E[first : first + recipe.batch_size]
            c = role_coefficients(count_ER[example_E], loss, rows=[int(i) + 1 for i in example_E])
            weighted_N = np.flatnonzero((c.coefficient_ER * count_ER[example_E]).any(axis=1))
            steps.append(
                Step(
                    epoch=epoch,
                    example_E=example_E,
                    coefficient_ER=c.coefficient_ER,
                    micro_batches=[weighted_N[m] for m in micro_batches(length_E[example_E[weighted_N]], token_budget)],
                    tokens=int(length_E[example_E].sum()),
                )
            )
            empty_units += c.empty_units
            digest.update(example_E.tobytes() + c.coefficient_ER.tobytes())
    return TrainingPlan(
        steps=steps,
        warmup_steps=math.ceil(recipe.warmup_ratio * len(steps)),
        empty_units=empty_units,
        digest=digest.hexdigest(),
    )


def micro_batches(length_E: NDArray[np.int64], token_budget: int) -> list[NDArray[np.int64]]:
    """Split examples so that each part, padded to its longest, stays within the budget.

    The longest come first, so that memory peaks at once and neighbours are of like length. An example longer than the
    budget makes a part of its own.
    """
    parts: list[list[int]] = []
    longest = 0
    for index in np.argsort(-length_E, kind="stable").tolist():
        if parts and (len(parts[-1]) + 1) * longest <= token_budget:
            parts[-1].append(index)
        else:
            parts.append([index])
            longest = int(length_E[index])
    return [np.array(part, dtype=np.int64) for part in parts]
