"""A bound on the memory of a benchmark's scores: lm-eval takes them at every token over the whole vocabulary."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from plw.evaluate.lm_eval.patches import patched_collator

SCORES_BYTES = {"cpu": 128 << 20, "cuda": 8 << 30}
"""Of a batch's logits and log-probabilities together; what a chunk of logits and their gradient take in training
(plw/loss/linear_cross_entropy.py)."""
NUMBER_BYTES = 4


@contextmanager
def bounded_scores(lm: Any) -> Iterator[None]:
    """A transformers model of lm-eval's scores the rows of a batch in parts that fit, while the block runs.

    What is entered before (the log of answers, the processes' shares) sees whole batches. A batch that fits is one
    part, with the digits that it always had.
    """
    from lm_eval.models.huggingface import HFLM

    if not isinstance(lm, HFLM):
        yield
        return
    vocabulary = lm.model.config.get_text_config().vocab_size
    limit = SCORES_BYTES.get(lm.device.type, SCORES_BYTES["cuda"])
    with patched_collator(partial(_collator, partial(rows_that_fit, vocabulary, limit))):
        yield


def rows_that_fit(vocabulary: int, limit: int, tokens: int) -> int:
    """Rows of so many tokens whose logits and log-probabilities take at most ``limit`` bytes; one at least."""
    return max(1, limit // (2 * NUMBER_BYTES * vocabulary * tokens))


def _collator(rows_of: Callable[[int], int], original: Any) -> Any:
    """lm-eval's maker of batches, which hands them on in parts."""

    class Collator(original):  # type: ignore[misc]
        def get_batched(self, *arguments: Any, **named: Any) -> Iterator[Any]:
            for batch in super().get_batched(*arguments, **named):
                rows = len(batch)
                if not isinstance(batch[0][-1], dict):
                    # The last token is predicted and not read.
                    rows = rows_of(max(len(context) + len(continuation) for _, context, continuation in batch) - 1)
                for start in range(0, len(batch), rows):
                    yield batch[start : start + rows]

    return Collator
