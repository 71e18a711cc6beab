"""The layout of a run: what its micro-batches are, for any step. It decides speed and memory, never a gradient."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plw.config.study import PADDED, PREFIX
from plw.data.encoding import EncodedExample
from plw.train.batching.balance import assign_microbatches
from plw.train.batching.prefixes import rank_by_prefix, shared_prefix_lengths


class Layout:
    """One of the three, for a dataset, a token budget and a number of processes."""

    def __init__(self, name: str, *, token_budget: int, processes: int, examples: Sequence[EncodedExample]) -> None:
        self._name, self._budget, self._processes, self._examples = name, token_budget, processes, examples
        self._length_E = np.array([len(example.token_T) for example in examples], dtype=np.int64)
        self._rank_E = rank_by_prefix(examples) if name == PREFIX else None

    def micro_batches(self, chosen_E: NDArray[np.int64]) -> list[list[NDArray[np.int64]]]:
        """``[process][turn]`` -> places in ``chosen_E`` that go through the model together.

        Args:
            chosen_E: indices into the dataset.
        """
        if self._rank_E is None:
            return self._lay_out(chosen_E)
        order_E = np.argsort(self._rank_E[chosen_E])
        prefix_E = shared_prefix_lengths([self._examples[index].token_T for index in chosen_E[order_E]])
        return [[order_E[part] for part in parts] for parts in self._lay_out(chosen_E[order_E], prefix_E)]

    def _lay_out(
        self, chosen_E: NDArray[np.int64], prefix_E: NDArray[np.int64] | None = None
    ) -> list[list[NDArray[np.int64]]]:
        return assign_microbatches(
            self._length_E[chosen_E],
            processes=self._processes,
            token_budget=self._budget,
            packed=self._name != PADDED,
            prefix_E=prefix_E,
        )
