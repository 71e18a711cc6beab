"""The plan of a training run: every step's examples, coefficients and micro-batches, made before training starts."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plw.config.loss import ROLES, LossConfig
from plw.config.study import PADDED
from plw.config.training import RecipeConfig
from plw.data.encoding import IS_COMPLETION_R, EncodedExample
from plw.data.weights import negative_weight
from plw.errors import UserError
from plw.loss.coefficients import RoleSums, emptied_by_data, has_weight, role_coefficients, role_sums, role_weights
from plw.train.batching.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Step:
    """One optimizer step."""

    epoch: int
    """From 1."""
    example_E: NDArray[np.int64]
    """Indices into the dataset, in the shuffled order."""
    coefficient_ER: NDArray[np.float64]
    """Coefficient of each example's tokens by role, before the data's own weights."""
    micro_batches: list[list[NDArray[np.int64]]]
    """``[process][turn]`` -> places in ``example_E`` that go through the model together, as many turns for each
    process; examples without weight are in none."""
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
    examples: Sequence[EncodedExample],
    loss: LossConfig,
    recipe: RecipeConfig,
    *,
    seed: int,
    token_budget: int,
    processes: int = 1,
    layout: str = PADDED,
) -> TrainingPlan:
    """Plan a run from lengths, roles and seed.

    Each epoch has its own order, shuffled from (seed, epoch), cut into steps of ``recipe.batch_size`` examples. The
    last step of an epoch takes what is left over, as in the Hugging Face Trainer. Warm-up lasts
    ceil(warmup_ratio * steps). ``token_budget``, ``processes`` and ``layout`` decide the micro-batches alone.

    Raises:
        UserError: no examples, no token with weight in the dataset or in a step (the line names file and row), an
            example longer than the token budget, or more processes than a step has examples.
    """
    if not examples:
        raise UserError("the dataset has no examples to train on; give it at least one record")
    length_E = np.array([len(example.token_T) for example in examples], dtype=np.int64)
    sums = role_sums(examples)
    names = [example.where or str(number) for number, example in enumerate(examples, start=1)]
    _check_negative(examples, names, loss)
    _check_weights(sums, loss, recipe)
    check_units(
        length_E,
        names,
        recipe.batch_size,
        token_budget=token_budget,
        processes=processes,
        unit="example",
        shorter="recipe.max_length",
    )
    digest = examples_digest(examples)
    laid_out = Layout(layout, token_budget=token_budget, processes=processes, examples=examples)
    steps, empty_units = [], 0
    for epoch in range(1, recipe.epochs + 1):
        order_E = example_order(len(examples), seed, epoch)
        for first in range(0, len(order_E), recipe.batch_size):
            example_E = order_E[first : first + recipe.batch_size]
            of_step = sums.of(example_E)
            c = role_coefficients(of_step, loss, names=[names[i] for i in example_E])
            steps.append(
                Step(
                    epoch=epoch,
                    example_E=example_E,
                    coefficient_ER=c.coefficient_ER,
                    micro_batches=_weighted_batches(laid_out, example_E, has_weight(of_step, c.coefficient_ER)),
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


def _weighted_batches(
    layout: Layout, example_E: NDArray[np.int64], has_weight_E: NDArray[np.bool_]
) -> list[list[NDArray[np.int64]]]:
    """The micro-batches of those of a step's examples that have weight, as places in ``example_E``."""
    weighted_N = np.flatnonzero(has_weight_E)
    return [[weighted_N[part] for part in parts] for parts in layout.micro_batches(example_E[weighted_N])]


def examples_digest(examples: Sequence[EncodedExample]) -> "hashlib._Hash":
    """SHA-256 of tokens, roles and the data's weights, to which the steps of a plan are added."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(len(example.token_T).to_bytes(8, "little") + example.token_T.tobytes() + example.role_T.tobytes())
        if example.weight_T is not None:
            digest.update(example.weight_T.tobytes())
    return digest


def example_order(examples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The shuffled order of so many examples in an epoch, counted from 1."""
    return np.random.default_rng([seed, epoch]).permutation(examples)


def _check_negative(examples: Sequence[EncodedExample], names: Sequence[str], loss: LossConfig) -> None:
    if loss.allow_negative:
        return
    for example, name in zip(examples, names, strict=True):
        if example.weight_T is not None and (example.weight_T < 0).any():
            raise UserError(negative_weight(name, float(example.weight_T.min())))


def _check_weights(sums: RoleSums, loss: LossConfig, recipe: RecipeConfig) -> None:
    weight_ER = role_weights(sums, loss)
    if not has_weight(sums, weight_ER).any():
        why = f"their prompts fill recipe.max_length={recipe.max_length}; raise it or loss.prompt_weight"
        if sums.count_ER[:, IS_COMPLETION_R].any():
            roles = ", ".join(ROLES[place] for place in np.flatnonzero(sums.count_ER.sum(axis=0)))
            why = f"their tokens are those of {roles}, which count nothing; raise the weight of one of them"
        if emptied_by_data(sums, weight_ER):
            why = "the weights in the data leave out all that would count; give some of it a weight that is not 0"
        raise UserError(
            f"none of the dataset's {len(sums.count_ER)} examples has a token with weight at {loss.weights_text}: {why}"
        )


def check_units(
    length_X: NDArray[np.int64],
    names: Sequence[str],
    batch_size: int,
    *,
    token_budget: int,
    processes: int,
    unit: str,
    shorter: str,
) -> None:
    """Each unit that stays whole fits into a micro-batch, and each process gets one of a step.

    Args:
        length_X: Tokens of each unit.
        names: What each is called.
        batch_size: Units of a step.
        token_budget: Tokens of a micro-batch.
        processes: That share a step.
        unit: Its kind: example or pair.
        shorter: The config field that cuts them.

    Raises:
        UserError: one is longer, or there are fewer than processes.
    """
    longest = int(length_X.argmax())
    if length_X[longest] > token_budget:
        raise UserError(
            f"execution.token_budget={token_budget} is smaller than the longest {unit}, {names[longest]} with "
            f"{length_X[longest]} tokens; allowed: {length_X[longest]} or more, or a smaller {shorter}"
        )
    most = min(batch_size, len(length_X))
    if processes > most:
        raise UserError(
            f"execution.processes={processes} is more than the {most} {unit}s of an optimizer step; "
            f"allowed: 1 to {most}"
        )
