"""Parts of lm-eval and of what it calls that are replaced while it runs; none changes a number that is not chance."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache, partial
from typing import Any
from unittest import mock

from plw.errors import shortened
from plw.evaluate.lm_eval.bootstrap import SegmentCounter, bootstrap_stderr
from plw.evaluate.quiet import quiet, tqdm_adapter
from plw.progress import Progress

logger = logging.getLogger(__name__)
LANGDETECT_SEED = 0
MAX_WARNING_LENGTH = 300
"""Letters of a warning that are shown."""


@contextmanager
def patched_lm_eval(progress: Progress, counter: SegmentCounter | None = None) -> Iterator[None]:
    """Silence but for lm-eval's warnings, which are logged, and five replacements.

    The requests' progress bar tells ``progress``; a document template is compiled once, not for every document;
    resampling stays in this process; the ROUGE of a single answer is not resampled a thousand times, since every
    resample of one item is that item (TruthfulQA-Gen spends five minutes on that); langdetect, which IFEval's checkers
    ask, draws from a seed, so that the same answers have the same score. ``counter`` keeps the counts of the segments
    that were resampled.
    """
    from lm_eval.api import metrics
    from lm_eval.models import huggingface
    from rouge_score import scoring

    with ExitStack() as stack:
        stack.enter_context(patched_task_loading())
        for owner, name, value in (
            (huggingface, "tqdm", tqdm_adapter(progress)),
            (metrics, "bootstrap_stderr", partial(bootstrap_stderr, counter=counter)),
            (scoring, "BootstrapAggregator", partial(_aggregator, scoring.BootstrapAggregator)),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        with suppress(ImportError):
            from langdetect import DetectorFactory

            stack.enter_context(mock.patch.object(DetectorFactory, "seed", LANGDETECT_SEED))
        yield


@contextmanager
def patched_task_loading() -> Iterator[None]:
    """As far as tasks are loaded alone: the silence, and templates that are compiled once. Torch is not imported."""
    from lm_eval import utils

    with ExitStack() as stack:
        stack.enter_context(quiet("datasets", "transformers", "huggingface_hub"))
        stack.enter_context(logged_warnings(logging.INFO))
        compiled = lru_cache(maxsize=256)(utils.env.from_string)
        stack.enter_context(mock.patch.object(utils.env, "from_string", compiled))
        yield


@contextmanager
def logged_warnings(level: int) -> Iterator[None]:
    """lm-eval warns document by document: a line of ours for each place of its code, with the number of times.

    Args:
        level: Of our line: what it says of a task or a model that it loads is information.
    """
    theirs, collected = logging.getLogger("lm_eval"), _Collector()
    before = theirs.level, theirs.propagate, theirs.handlers
    theirs.setLevel(logging.WARNING)
    theirs.propagate, theirs.handlers = False, [collected]
    try:
        yield
    finally:
        theirs.setLevel(before[0])
        _, theirs.propagate, theirs.handlers = before
        for first, times in collected.found.values():
            logger.log(level, "lm-eval warned %d times, first: %s", times, first)


def _one_line(message: str) -> str:
    return shortened(" ".join(message.split()), MAX_WARNING_LENGTH)


class _Collector(logging.Handler):
    """The first message of each place that logs, on one line, and how often it came."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: dict[tuple[str, int], tuple[str, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        place = record.pathname, record.lineno
        first, times = self.found.get(place, (_one_line(record.getMessage()), 0))
        self.found[place] = first, times + 1


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
