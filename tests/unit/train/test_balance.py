"""The layout of a step: budgets kept, processes evenly filled, nobody with a turn less than the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plw.train.balance import EVEN, lay_out, micro_batches, share_evenly


def lengths(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@given(length_E=st.lists(st.integers(1, 60), max_size=30), budget=st.integers(60, 200), packed=st.booleans())
def test_micro_batches_partition_within_the_budget(length_E: list[int], budget: int, packed: bool) -> None:
    parts = micro_batches(lengths(length_E), budget, packed=packed)
    assert sorted(np.concatenate([*parts, lengths([])]).tolist()) == list(range(len(length_E)))
    for part in parts:
        of = [length_E[i] for i in part]
        assert (sum(of) if packed else len(of) * max(of)) <= budget


@given(
    length_E=st.lists(st.integers(1, 60), max_size=30),
    processes=st.integers(1, 5),
    packed=st.booleans(),
)
def test_every_process_has_as_many_turns_and_the_same_input_the_same_layout(
    length_E: list[int], processes: int, packed: bool
) -> None:
    layout = lay_out(lengths(length_E), processes=processes, token_budget=80, packed=packed)
    again = lay_out(lengths(length_E), processes=processes, token_budget=80, packed=packed)
    flat = [part.tolist() for parts in layout for part in parts]
    assert flat == [part.tolist() for parts in again for part in parts]
    assert sorted(place for part in flat for place in part) == list(range(len(length_E)))
    assert len(layout) == processes
    assert len({len(parts) for parts in layout}) == 1
    for parts in layout:
        for part in parts:
            of = [length_E[i] for i in part]
            assert (sum(of) if packed else len(of) * max(of, default=0)) <= 80
        # A turn stays empty only where there is no example left to cut off.
        if any(len(part) == 0 for part in parts):
            assert all(len(part) <= 1 for part in parts)


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_steps_of_instruction_data_are_even(processes: int) -> None:
    """128 examples of long-tailed lengths up to 512, as Alpaca's are."""
    dice = np.random.default_rng(0)
    for _ in range(50):
        length_E = np.clip(np.exp(dice.normal(4.9, 0.7, 128)).astype(np.int64), 30, 512)
        tokens = [int(length_E[share].sum()) for share in share_evenly(length_E, processes)]
        assert max(tokens) - min(tokens) <= EVEN * max(tokens)


def test_swaps_find_what_the_longest_first_rule_misses() -> None:
    # Longest first gives 8+5+4 against 7+6; 8+7 against 6+5+4 is even.
    tokens = [sum([8, 7, 6, 5, 4][i] for i in share) for share in share_evenly(lengths([8, 7, 6, 5, 4]), 2)]
    assert sorted(tokens) == [15, 15]


def test_one_process_keeps_the_order() -> None:
    assert share_evenly(lengths([3, 9, 1]), 1)[0].tolist() == [0, 1, 2]
