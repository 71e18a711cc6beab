"""A packed row and what its last layer computes, against what is read off the examples one by one."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plw.config.study import PACKED, PADDED, PREFIX
from plw.train.batching.last_rows import find_last_rows
from plw.train.batching.packed_row import make_row
from plw.train.batching.placement import PlacedTokens, place_tokens, without_tails

CPU = torch.device("cpu")
# Of two tokens and in order, so that many begin alike, and some are there twice.
beginnings = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), min_size=1, max_size=8).map(sorted)


def placed_tokens(examples: list[list[int]], layout: str) -> PlacedTokens:
    return place_tokens([np.array(example, dtype=np.int32) for example in examples], layout)


@settings(max_examples=50)
@given(examples=beginnings, layout=st.sampled_from([PACKED, PREFIX]))
def test_a_row_says_of_each_example_where_it_asks_and_what_it_sees(examples: list[list[int]], layout: str) -> None:
    placed = placed_tokens(examples, layout)
    row = make_row(placed.paths, placed.owned, CPU)
    # One of which every token stands with another computes nothing.
    there = [(path, own) for path, own in zip(placed.paths, placed.owned, strict=True) if own]
    assert row.queries_E == [own for _, own in there]
    assert (row.longest_query, row.longest_key) == (max(row.queries_E), max(len(path) for path, _ in there))
    tokens = sum(placed.owned)
    every_K = np.concatenate([path for path, _ in there]).tolist()
    assert (row.key_K is None) == (every_K == list(range(tokens)))
    key_K = np.arange(tokens) if row.key_K is None else row.key_K.numpy()
    queries, keys = pairwise(row.query_bound_E.tolist()), pairwise(row.key_bound_E.tolist())
    for (path, own), query, key in zip(there, queries, keys, strict=True):
        assert list(range(*query)) == path[len(path) - own :].tolist()
        assert key_K[slice(*key)].tolist() == path.tolist()
    # A stretch ends where the next token is not of the same examples.
    users = [[e for e, (path, _) in enumerate(there) if place in path] for place in range(tokens)]
    starts = [0, *(place for place in range(1, tokens) if users[place] != users[place - 1]), tokens]
    assert row.stretches_I == np.diff(starts).tolist()
    for (path, _), stretches in zip(there, row.keys_E, strict=True):
        assert [place for i in stretches for place in range(starts[i], starts[i + 1])] == path.tolist()


@settings(max_examples=50)
@given(examples=beginnings, layout=st.sampled_from([PADDED, PACKED, PREFIX]), data=st.data())
def test_the_last_layer_asks_from_the_first_token_that_predicts_on(
    examples: list[list[int]], layout: str, data: st.DataObject
) -> None:
    placed = placed_tokens(examples, layout)
    real = sorted({place for path in placed.paths for place in path.tolist()})
    predicting_U = np.array(sorted(data.draw(st.sets(st.sampled_from(real)))), dtype=np.int64)
    last = find_last_rows(placed, predicting_U, CPU)
    if last is None:
        assert not 0 < len(predicting_U) <= 0.95 * len(real)
        return
    assert last.place_U.tolist() == predicting_U.tolist()
    columns = placed.shape[1]
    assert (last.output_U is None) == (len(predicting_U) == placed.shape[0] * len(last.query_Q))
    asked = [r * columns + place for r in range(placed.shape[0]) for place in last.query_Q.tolist()]
    assert [asked[u] for u in (range(len(asked)) if last.output_U is None else last.output_U)] == predicting_U.tolist()
    first = min(place % columns for place in predicting_U.tolist()) if layout == PADDED else None
    pairs, queries = 0, []
    for path, own in zip(placed.paths, placed.owned, strict=True):
        mine = [seen for seen in range(len(path) - own, len(path)) if path[seen] in predicting_U]
        start = min(mine, default=len(path)) if first is None else first
        pairs += sum(seen + 1 for seen in range(start, len(path)))
        queries += path[start:].tolist()
    assert last.pairs == pairs
    assert set(queries) <= set(asked)
    if layout == PADDED:
        assert last.row is None
        assert last.query_Q.tolist() == list(range(first or 0, columns))
    else:
        assert last.row is not None
        assert asked == queries
        assert sum(last.row.queries_E) == len(queries)


@settings(max_examples=50)
@given(examples=beginnings, layout=st.sampled_from([PADDED, PACKED, PREFIX]), data=st.data())
def test_what_no_prediction_sees_is_left_out(examples: list[list[int]], layout: str, data: st.DataObject) -> None:
    placed = placed_tokens(examples, layout)
    real = sorted({place for path in placed.paths for place in path.tolist()})
    predicting = data.draw(st.sets(st.sampled_from(real)))
    predicts_F = np.isin(np.arange(len(placed.token_F)), sorted(predicting))
    left, place_F = without_tails(placed, predicts_F)
    if not predicting:
        assert left is placed
        return
    seen = {place for path in placed.paths for place in path for later in path if later >= place if later in predicting}
    taken: set[int] = set()
    for path, new, own in zip(placed.paths, left.paths, left.owned, strict=True):
        kept = [place for place in path.tolist() if place in seen]
        assert new.tolist() == place_F[kept].tolist()
        assert left.token_F[new].tolist() == placed.token_F[kept].tolist()
        assert left.position_F[new].tolist() == list(range(len(new)))
        assert left.before_F[new[1:]].tolist() == new[:-1].tolist()
        assert own == len(set(kept) - taken)
        taken |= set(kept)
    longest = max(len(path) for path in left.paths)
    assert left.shape == ((len(examples), longest) if layout == PADDED else (1, len(seen)))


@pytest.mark.parametrize(("predicting", "shortened"), [(0, False), (1, True), (19, True), (20, False)])
def test_the_last_layer_is_whole_where_nothing_predicts_or_nearly_everything(predicting: int, shortened: bool) -> None:
    placed = placed_tokens([list(range(20))], PACKED)
    assert (find_last_rows(placed, np.arange(predicting), CPU) is not None) == shortened


@pytest.mark.parametrize(
    ("lengths", "layout", "shape"),
    [
        ([], PADDED, (1, 1)),
        ([], PACKED, (1, 1)),
        ([3], PADDED, (1, 3)),
        ([3, 1], PADDED, (2, 3)),
        ([3, 1], PACKED, (1, 4)),
        ([3, 3], PREFIX, (1, 3)),
    ],
)
def test_no_place_is_more_than_the_layout_needs(lengths: list[int], layout: str, shape: tuple[int, int]) -> None:
    assert placed_tokens([list(range(length)) for length in lengths], layout).shape == shape
