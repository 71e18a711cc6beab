"""The plan of a preference run: every step's pairs and micro-batches; the two examples of a pair stay together."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plw.config.study import PADDED, PREFIX
from plw.config.training import RecipeConfig
from plw.data.encoding import IS_COMPLETION_R, EncodedExample
from plw.train.batching.balance import assign_microbatches
from plw.train.batching.plan import Step, TrainingPlan, check_units, example_order, examples_digest
from plw.train.batching.prefixes import rank_by_prefix, shared_prefix_lengths

SIDES = 2
"""Examples of a pair: the chosen one and the rejected."""


def plan_pairs(
    examples: Sequence[EncodedExample],
    recipe: RecipeConfig,
    *,
    seed: int,
    token_budget: int,
    processes: int = 1,
    layout: str = PADDED,
) -> TrainingPlan:
    """Plan a run over pairs, each shuffled from (seed, epoch) as :func:`plan_training` does it with examples.

    A step's coefficients are 1 for what is learned from; what they come to is known when the model has read the pair.

    Args:
        examples: chosen and rejected of each pair in turn.
        recipe: its batch counts pairs.
        seed: of the order.
        token_budget: tokens of a micro-batch at most.
        processes: how many share a step.
        layout: as :class:`plw.train.batching.layout.Layout` has it; the three decide micro-batches alone.

    Raises:
        UserError: a pair longer than the token budget, or more processes than a step has pairs.
    """
    units = _PairLayout(examples, token_budget=token_budget, processes=processes, layout=layout)
    units.check(recipe)
    digest, steps = examples_digest(examples), []
    for epoch in range(1, recipe.epochs + 1):
        order_X = example_order(units.pairs, seed, epoch)
        for first in range(0, units.pairs, recipe.batch_size):
            steps.append(units.step(epoch, order_X[first : first + recipe.batch_size]))
            digest.update(steps[-1].example_E.tobytes())
    return TrainingPlan(
        steps=steps,
        warmup_steps=math.ceil(recipe.warmup_ratio * len(steps)),
        empty_units=0,
        digest=digest.hexdigest(),
    )


def all_pairs(examples: Sequence[EncodedExample], *, token_budget: int, processes: int, layout: str) -> Step:
    """Every pair once, to be read and not learned from."""
    units = _PairLayout(examples, token_budget=token_budget, processes=processes, layout=layout)
    return units.step(0, np.arange(units.pairs))


class _PairLayout:
    """What micro-batches of whole pairs are, for a dataset, a token budget and a number of processes."""

    def __init__(self, examples: Sequence[EncodedExample], *, token_budget: int, processes: int, layout: str) -> None:
        self._examples, self._budget, self._processes = examples, token_budget, processes
        self._packed = layout != PADDED
        self.pairs = len(examples) // SIDES
        self._length_X2 = np.array([len(example.token_T) for example in examples], dtype=np.int64).reshape(-1, SIDES)
        shared_X = np.zeros(self.pairs, dtype=np.int64)
        if layout == PREFIX:
            tokens = [example.token_T for example in examples]
            # Pair by pair: the table that compares many at once would hold all tokens of the data.
            pairs = zip(tokens[::SIDES], tokens[1::SIDES], strict=True)
            shared_X = np.array([shared_prefix_lengths(pair)[1] for pair in pairs], dtype=np.int64)
        # Padded rows are as long as the longest of them: a pair takes two of its longer example.
        self._length_X = self._length_X2.sum(1) - shared_X if self._packed else SIDES * self._length_X2.max(1)
        # Pairs that begin alike are neighbours, so that a template's words stand once.
        self._rank_X = rank_by_prefix(examples[::SIDES])

    def check(self, recipe: RecipeConfig) -> None:
        """Each pair fits into a micro-batch, and each process gets one of a step."""
        names = [example.where or str(number) for number, example in enumerate(self._examples[::SIDES], start=1)]
        check_units(
            self._length_X,
            names,
            recipe.batch_size,
            token_budget=self._budget,
            processes=self._processes,
            unit="pair",
            shorter="preference.max_length",
        )

    def step(self, epoch: int, pair_X: NDArray[np.int64]) -> Step:
        """A step on some pairs; the examples of a pair are at neighbouring places."""
        example_E = (SIDES * pair_X[:, None] + np.arange(SIDES)).ravel()
        order_X = np.argsort(self._rank_X[pair_X])
        parts_by_rank = assign_microbatches(
            self._length_X[pair_X[order_X]],
            processes=self._processes,
            token_budget=self._budget,
            packed=self._packed,
        )
        return Step(
            epoch=epoch,
            example_E=example_E,
            coefficient_ER=np.repeat(IS_COMPLETION_R[None].astype(np.float64), len(example_E), axis=0),
            micro_batches=[
                [(SIDES * order_X[np.sort(part), None] + np.arange(SIDES)).ravel() for part in parts]
                for parts in parts_by_rank
            ],
            tokens=int(self._length_X2[pair_X].sum()),
        )
