"""Prompts in batches of like length, shared out among the processes that hold the model."""

from collections.abc import Callable, Iterator, Sequence

from plw.progress import Progress


def longest_first(rows: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Places of rows of like length, batch by batch: what does not fit into memory is met at once."""
    order = sorted(range(len(rows)), key=lambda index: (-len(rows[index]), index))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def own_batches(
    rows: Sequence[Sequence[int]], batch_size: int, has_turn: Callable[[int], bool], progress: Progress, what: str
) -> Iterator[tuple[list[int], Callable[[str], None]]]:
    """The batches that fall to this process, each with what may be told of it while it is under way.

    ``has_turn`` says by its number whether a batch does. ``progress`` is called with those words and the rows that are
    done, other processes' among them; ``what`` is made of them.
    """
    done = 0

    def say(words: str) -> None:
        progress(done, len(rows), f"{what}, {words}")

    progress(done, len(rows), what)
    for number, batch in enumerate(longest_first(rows, batch_size)):
        if not has_turn(number):
            done += len(batch)
            continue
        yield batch, say
        done += len(batch)
        progress(done, len(rows), what)
