"""Batches: every row once, long ones first, and on a CPU none padded to far more than its length."""

from hypothesis import given
from hypothesis import strategies as st

from plw.evaluate.models.batches import PADDED_FREELY, longest_first

LENGTHS = st.lists(st.integers(1, 4000), max_size=60)


@given(LENGTHS, st.integers(1, 20))
def test_rows_come_once_and_longest_first(lengths: list[int], batch_size: int) -> None:
    rows = [range(length) for length in lengths]
    for pads_freely in (True, False):
        batches = list(longest_first(rows, batch_size, pads_freely=pads_freely))
        order = [place for batch in batches for place in batch]
        assert sorted(order) == list(range(len(rows)))
        assert [lengths[place] for place in order] == sorted(lengths, reverse=True)
        assert all(0 < len(batch) <= batch_size for batch in batches)
        if pads_freely:
            assert all(len(batch) == batch_size for batch in batches[:-1])
            continue
        for number, batch in enumerate(batches):
            after = batches[number + 1] if number + 1 < len(batches) else []
            widest, shortest = lengths[batch[0]], lengths[batch[-1]]
            assert widest <= max(PADDED_FREELY, 2 * shortest)
            # No batch ends before it has to.
            assert not after or len(batch) == batch_size or widest > max(PADDED_FREELY, 2 * lengths[after[0]])
