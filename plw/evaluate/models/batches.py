"""Prompts in batches of like length, shared out among the processes that hold the model."""

from collections.abc import Callable, Iterator, Sequence

from plw.progress import Progress

PADDED_FREELY = 128
"""Tokens to which any row may be padded: that costs less than a batch of its own."""


def longest_first(rows: Sequence[Sequence[int]], batch_size: int, *, pads_freely: bool = True) -> Iterator[list[int]]:
    """Places of rows of like length, batch by batch: what does not fit into memory is met at once.

    Args:
        rows: Tokens.
        batch_size: Rows of a batch at most.
        pads_freely: Off, no row is padded to more than twice its length and ``PADDED_FREELY``: a processor computes
            padding as slowly as anything else.
    """
    order = sorted(range(len(rows)), key=lambda index: (-len(rows[index]), index))
    batch: list[int] = []
    for index in order:
        if batch:
            width = len(rows[batch[0]])
            if len(batch) == batch_size or not (pads_freely or width <= max(PADDED_FREELY, 2 * len(rows[index]))):
                yield batch
                batch = []
        batch.append(index)
    if batch:
        yield batch


def own_batches(
    batches: Sequence[list[int]], is_mine: Callable[[int], bool], progress: Progress, what: str
) -> Iterator[tuple[list[int], Callable[[str], None]]]:
    """The batches that fall to this process, each with what may be told of it while it is under way.

    ``is_mine`` says by its number whether a batch does. ``progress`` is called with those words and the rows that are
    done, other processes' among them; ``what`` is made of them.
    """
    done, total = 0, sum(map(len, batches))

    def say(words: str) -> None:
        progress(done, total, f"{what}, {words}")

    progress(done, total, what)
    for number, batch in enumerate(batches):
        if not is_mine(number):
            done += len(batch)
            continue
        yield batch, say
        done += len(batch)
        progress(done, total, what)
