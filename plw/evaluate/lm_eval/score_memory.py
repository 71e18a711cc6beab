"""A bound on the memory of a benchmark's scores: lm-eval takes them at every token over the whole vocabulary."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from plw.evaluate.lm_eval.patches import patched_collator
from plw.evaluate.models.score_rows import rows_that_fit, scores_bytes


@contextmanager
def bounded_scores(lm: Any) -> Iterator[None]:
    """A transformers model of lm-eval's scores the rows of a batch in parts that fit, while the block runs.

    What is entered before (the log of answers, the processes' shares) sees whole batches. A batch that fits is one
    part, with the digits that it always had. A model whose ``bounds_scores`` is true makes its own parts.
    """
    from lm_eval.models.huggingface import HFLM

    if not isinstance(lm, HFLM):
        yield
        return
    vocabulary = lm.model.config.get_text_config().vocab_size
    rows_of = partial(rows_that_fit, vocabulary, scores_bytes(lm.device))
    with patched_collator(partial(_collator, lm, rows_of)):
        yield


def _collator(lm: Any, rows_of: Callable[[int], int], original: Any) -> Any:
    """lm-eval's maker of batches, which hands them on in parts."""

    class Collator(original):  # type: ignore[misc]
        def get_batched(self, *arguments: Any, **named: Any) -> Iterator[Any]:
            for batch in super().get_batched(*arguments, **named):
                rows = len(batch)
                if not isinstance(batch[0][-1], dict) and not getattr(lm, "bounds_scores", False):
                    # The last token is predicted and not read.
                    rows = rows_of(max(len(context) + len(continuation) for _, context, continuation in batch) - 1)
                for start in range(0, len(batch), rows):
                    yield batch[start : start + rows]

    return Collator
