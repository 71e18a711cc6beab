"""lm-eval's bootstrap, number for number, in this process and with each segment's n-grams counted once.

lm-eval draws the resamples in a pool of processes and counts the n-grams of every resample anew. BLEU, chrF and TER are
functions of sums over segments, so the counts are made once and only summed for each resample.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from plw.results.corpus_metrics import metric_of, segment_counts

CHUNK = 1000
"""Resamples drawn from one random stream; the stream's number is its seed, as in lm-eval."""


class SegmentCounter:
    """Counts of segments, made once for the resampling and for the item table."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[int, ...]], tuple[Sequence[Any], list[list[float]]]] = {}

    def counts(self, name: str, segments: Sequence[Any]) -> list[list[float]]:
        """The counts of sacreBLEU, one row a segment.

        Args:
            name: One of ``plw.results.corpus_metrics.CORPUS_METRICS``.
            segments: Pairs (reference or references, answer), the same objects where they were counted before.
        """
        key = name, tuple(map(id, segments))
        if key not in self._known:
            references, answers = zip(*segments, strict=True)
            # The segments are kept, so that no other object gets their identity.
            self._known[key] = list(segments), segment_counts(name, references, answers)
        return self._known[key][1]


def bootstrap_stderr(
    statistic: Callable[[Sequence[Any]], float],
    items: Sequence[Any],
    iters: int,
    counter: SegmentCounter | None = None,
) -> float:
    """Standard deviation of ``statistic`` over resamples of ``items``, as lm-eval's function of the same name.

    Args:
        statistic: One of lm-eval's aggregations.
        items: One entry a document; for BLEU, chrF and TER a pair (reference or references, answer).
        iters: Resamples; more than 1000 are cut to whole thousands.
        counter: Keeps the counts of the segments.
    """
    from lm_eval.api.metrics import sample_stddev

    score = _by_segments(statistic, items, counter or SegmentCounter())
    score = score or (lambda picks: statistic([items[pick] for pick in picks]))
    chunk = min(CHUNK, iters)
    values = []
    for seed in range(iters // chunk):
        stream = random.Random(seed)
        values += [score(stream.choices(range(len(items)), k=len(items))) for _ in range(chunk)]
    return float(sample_stddev(values))


def _by_segments(
    statistic: Callable[[Sequence[Any]], float], items: Sequence[Any], counter: SegmentCounter
) -> Callable[[Sequence[int]], float] | None:
    """The score of a resample from ready counts; ``None`` for other statistics and several references a document."""
    from lm_eval.api import metrics

    names = {metrics.bleu: "bleu", metrics.chrf: "chrf", metrics.chrfpp: "chrf++", metrics.ter: "ter"}
    if statistic not in names or not all(isinstance(text, str) for item in items for text in item):
        return None
    metric, counts = metric_of(names[statistic]), counter.counts(names[statistic], items)
    return lambda picks: float(metric._aggregate_and_compute([counts[pick] for pick in picks]).score)
