"""Parts of lm-eval and of what it calls that are replaced while it runs; none of them changes a number."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any
from unittest import mock

from plw.evaluate.lm_eval.bootstrap import bootstrap_stderr
from plw.evaluate.quiet import quiet, tqdm_adapter
from plw.progress import Progress


@contextmanager
def patched_lm_eval(progress: Progress) -> Iterator[None]:
    """Silence, and four replacements.

    The requests' progress bar tells ``progress``; a document template is compiled once, not for every document;
    resampling stays in this process; the ROUGE of a single answer is not resampled a thousand times, since every
    resample of one item is that item (TruthfulQA-Gen spends five minutes on that).
    """
    from lm_eval import utils
    from lm_eval.api import metrics
    from lm_eval.models import huggingface
    from rouge_score import scoring

    with ExitStack() as stack:
        stack.enter_context(quiet("lm_eval", "datasets", "transformers", "huggingface_hub"))
        for owner, name, value in (
            (huggingface, "tqdm", tqdm_adapter(progress)),
            (utils.env, "from_string", lru_cache(maxsize=256)(utils.env.from_string)),
            (metrics, "bootstrap_stderr", bootstrap_stderr),
            (scoring, "BootstrapAggregator", partial(_aggregator, scoring.BootstrapAggregator)),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


@contextmanager
def patched_collator(make: Callable[[Any], Any]) -> Iterator[None]:
    """lm-eval's maker of batches is what ``make`` makes of it while the block runs."""
    from lm_eval.models import huggingface

    with mock.patch.object(huggingface, "Collator", make(huggingface.Collator)):
        yield


def _aggregator(original: Any, *arguments: Any, **named: Any) -> Any:
    """A ``BootstrapAggregator`` that draws its resamples only where there is more than one item to draw from."""

    class Aggregator(original):  # type: ignore[misc]
        def aggregate(self) -> Any:
            if all(len(scores) == 1 for scores in self._scores.values()):
                self._n_samples = 1
            return super().aggregate()

    return Aggregator(*arguments, **named)
