"""The layout of a step: budgets kept, processes evenly filled, nobody with a turn less than the others."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plw.train.batching.balance import (
    IMBALANCE_TOLERANCE,
    MAX_KV_FACTOR,
    assign_microbatches,
    balance_across_ranks,
    micro_batches,
)
from plw.train.batching.prefixes import shared_prefix_lengths


def lengths(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@given(length_E=st.lists(st.integers(1, 60), max_size=30), budget=st.integers(60, 200), packed=st.booleans())
def test_micro_batches_partition_within_the_budget(length_E: list[int], budget: int, packed: bool) -> None:
    parts = micro_batches(lengths(length_E), budget, packed=packed)
    assert sorted(np.concatenate([*parts, lengths([])]).tolist()) == list(range(len(length_E)))
    for part in parts:
        of = [length_E[i] for i in part]
        assert (sum(of) if packed else len(of) * max(of)) <= budget
    # The longest first: each opened a part because it did not fit into those that were there.
    ordered = [[length_E[i] for i in part] for part in parts]
    assert all(part == sorted(part, reverse=True) for part in ordered)
    for part, after in pairwise(ordered):
        longer = [length for length in part if length >= after[0]]
        assert sum(longer) + after[0] > budget if packed else (len(part) + 1) * part[0] > budget


@given(
    length_E=st.lists(st.integers(1, 60), max_size=30),
    processes=st.integers(1, 5),
    packed=st.booleans(),
)
def test_every_process_has_as_many_turns_and_the_same_input_the_same_layout(
    length_E: list[int], processes: int, packed: bool
) -> None:
    layout = assign_microbatches(lengths(length_E), processes=processes, token_budget=80, packed=packed)
    again = assign_microbatches(lengths(length_E), processes=processes, token_budget=80, packed=packed)
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
        tokens = [int(length_E[share].sum()) for share in balance_across_ranks(length_E, processes)]
        assert max(tokens) - min(tokens) <= IMBALANCE_TOLERANCE * max(tokens)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        # Longest first gives 8+5+4 against 7+6; 8+7 against 6+5+4 is even.
        ([8, 7, 6, 5, 4], [15, 15]),
        # These take two swaps.
        ([9, 13, 18, 14, 7, 1], [31, 31]),
        ([27, 28, 20, 16, 18, 10, 14], [44, 44, 45]),
    ],
)
def test_swaps_find_what_the_longest_first_rule_misses(of: list[int], expected: list[int]) -> None:
    shares = balance_across_ranks(lengths(of), len(expected))
    assert sorted(sum(of[place] for place in share) for share in shares) == expected


def test_one_process_keeps_the_order() -> None:
    assert balance_across_ranks(lengths([3, 9, 1]), 1)[0].tolist() == [0, 1, 2]


beginnings = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=14), min_size=1, max_size=24).map(sorted)


def distinct(examples: list[list[int]]) -> int:
    """Tokens that are left where examples share what they begin with alike."""
    return len({tuple(example[:end]) for example in examples for end in range(1, len(example) + 1)})


@example(examples=[[0] * 14] * 24, processes=1, budget=14)
@example(examples=[[0, 0, 0], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0]], processes=2, budget=8)
@given(examples=beginnings, processes=st.integers(1, 4), budget=st.integers(14, 60))
def test_shared_tokens_count_once_in_a_micro_batch(examples: list[list[int]], processes: int, budget: int) -> None:
    prefix_E = shared_prefix_lengths([np.array(example, dtype=np.int32) for example in examples])
    layout = assign_microbatches(
        lengths([len(example) for example in examples]),
        processes=processes,
        token_budget=budget,
        packed=True,
        prefix_E=prefix_E,
    )
    assert sorted(place for parts in layout for part in parts for place in part) == list(range(len(examples)))
    assert len({len(parts) for parts in layout}) == 1
    for parts in layout:
        chosen = [[examples[place] for place in part] for part in parts]
        assert all(distinct(part) <= budget for part in chosen)
        assert all(sum(map(len, part)) <= MAX_KV_FACTOR * budget for part in chosen)
        if processes == 1:
            # The next example would not have gone in.
            for part, after in pairwise(chosen):
                more = [*part, after[0]]
                assert distinct(more) > budget or sum(map(len, more)) > MAX_KV_FACTOR * budget


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_steps_that_share_a_preamble_are_even_in_what_is_computed(processes: int) -> None:
    """Alpaca's two preambles, of 33 and 49 tokens, before 128 examples."""
    dice = np.random.default_rng(0)
    for _ in range(20):
        rest_E = np.clip(np.exp(dice.normal(4.6, 0.8, 128)).astype(np.int64), 4, 460)
        kind_E = np.sort(dice.integers(0, 2, 128))
        length_E = rest_E + np.array([33, 49])[kind_E]
        prefix_E = np.array([0, *np.where(np.diff(kind_E) == 0, np.array([33, 49])[kind_E[1:]], 12)])
        layout = assign_microbatches(length_E, processes=processes, token_budget=2048, packed=True, prefix_E=prefix_E)
        computed = []
        for parts in layout:
            firsts = sum(int(prefix_E[part[0]]) if len(part) else 0 for part in parts)
            computed.append(sum(int((length_E - prefix_E)[part].sum()) for part in parts) + firsts)
        assert max(computed) - min(computed) <= IMBALANCE_TOLERANCE * max(computed)
