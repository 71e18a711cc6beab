"""What examples begin with alike is found, and counted once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plw.data.encoding import EncodedExample
from plw.train.batching.prefixes import rank_by_prefix, shared_prefix_lengths

# Of two tokens alone, so that many begin alike.
rows = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), max_size=12)


def arrays(examples: list[list[int]]) -> list[np.ndarray]:
    return [np.array(example, dtype=np.int32) for example in examples]


@given(examples=rows)
def test_neighbours_are_alike_as_far_as_their_tokens_are(examples: list[list[int]]) -> None:
    expected = [0] * len(examples)
    for e in range(1, len(examples)):
        one, other = examples[e - 1], examples[e]
        while expected[e] < min(len(one), len(other)) and one[expected[e]] == other[expected[e]]:
            expected[e] += 1
    assert shared_prefix_lengths(arrays(examples)).tolist() == expected


@given(examples=rows)
def test_in_the_order_of_beginnings_nothing_is_there_twice(examples: list[list[int]]) -> None:
    """What the examples bring beyond the one before is as many tokens as there are different beginnings."""
    encoded = [EncodedExample(token_T=token_T, role_T=np.zeros(len(token_T), "u1")) for token_T in arrays(examples)]
    rank_E = rank_by_prefix(encoded)
    assert sorted(rank_E.tolist()) == list(range(len(examples)))
    ordered = [examples[index] for index in np.argsort(rank_E)]
    own = sum(map(len, ordered)) - int(shared_prefix_lengths(arrays(ordered)).sum())
    assert own == len({tuple(example[:end]) for example in examples for end in range(1, len(example) + 1)})
