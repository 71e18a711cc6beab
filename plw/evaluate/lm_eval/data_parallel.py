"""The harness's batches of requests, shared out over processes that each hold a copy of the model.

lm-eval can give each process every n-th document. Then documents meet others in their batches, whose padding changes
last digits, and a task's examples, which are drawn document by document, are others. Here every process makes the same
requests and the same batches as one alone would, computes every n-th batch, and receives the rest from the others: all
have all answers, in the order of the documents, and they are those of one process to the last digit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

from plw.errors import StageError
from plw.evaluate.lm_eval.patches import patched_collator
from plw.evaluate.lm_eval.resumable import is_sampled
from plw.launch.group import Group


@contextmanager
def data_parallel(group: Group) -> Iterator[None]:
    """lm-eval's transformers models compute their share alone while the block runs, and every process has all answers.

    Batches that are sampled are computed by every process: their random numbers follow on each other. A task of whole
    documents' perplexity (``loglikelihood_rolling``) asks batch by batch, so there one process computes while the
    others wait.
    """
    with patched_collator(partial(_collator, group)):
        yield


def _collator(group: Group, original: Any) -> Any:
    """lm-eval's maker of batches, which hands on those of this process and puts everyone's answers together."""
    turns = count()

    class Collator(original):  # type: ignore[misc]
        def get_batched(self, *arguments: Any, **named: Any) -> Iterator[Any]:
            self._own: list[int] = []
            begin = 0
            for batch in super().get_batched(*arguments, **named):
                if next(turns) % group.size == group.rank or is_sampled(batch):
                    self._own += range(begin, begin + len(batch))
                    yield batch
                begin += len(batch)

        def get_original(self, newarr: list[Any]) -> list[Any]:
            # Where requests share a context, lm-eval notes their places as they are answered, so only ours are there.
            answered = len(self._reorder_indices) == len(newarr)
            places = self._reorder_indices if answered else [self._reorder_indices[index] for index in self._own]
            everyone = group.all_gather_object(list(zip(places, newarr, strict=True)))
            answers = {place: answer for said in reversed(everyone) for place, answer in said}
            if len(answers) != len(self):
                raise StageError(
                    f"the harness's processes made unlike batches: {len(answers)} answers to {len(self)} requests"
                )
            return [answers[place] for place in range(len(self))]

    return Collator
