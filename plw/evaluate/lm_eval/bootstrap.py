"""lm-eval's bootstrap, number for number, in this process and with each segment's n-grams counted once.

lm-eval draws the resamples in a pool of processes and counts the n-grams of every resample anew. BLEU, chrF and TER are
functions of sums over segments, so the counts are made once and only summed for each resample.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

CHUNK = 1000
"""Resamples drawn from one random stream; the stream's number is its seed, as in lm-eval."""


def bootstrap_stderr(statistic: Callable[[Sequence[Any]], float], items: Sequence[Any], iters: int) -> float:
    """Standard deviation of ``statistic`` over resamples of ``items``, as lm-eval's function of the same name.

    Args:
        statistic: One of lm-eval's aggregations.
        items: One entry a document; for BLEU, chrF and TER a pair (reference or references, answer).
        iters: Resamples; more than 1000 are cut to whole thousands.
    """
    from lm_eval.api.metrics import sample_stddev

    score = _by_segments(statistic, items) or (lambda picks: statistic([items[pick] for pick in picks]))
    chunk = min(CHUNK, iters)
    values = []
    for seed in range(iters // chunk):
        stream = random.Random(seed)
        values += [score(stream.choices(range(len(items)), k=len(items))) for _ in range(chunk)]
    return float(sample_stddev(values))


def _by_segments(
    statistic: Callable[[Sequence[Any]], float], items: Sequence[Any]
) -> Callable[[Sequence[int]], float] | None:
    """The score of a resample from ready counts; ``None`` for other statistics and several references a document."""
    import sacrebleu
    from lm_eval.api import metrics

    made: dict[Any, Callable[[], Any]] = {
        metrics.bleu: sacrebleu.BLEU,
        metrics.chrf: sacrebleu.CHRF,
        metrics.chrfpp: lambda: sacrebleu.CHRF(word_order=2),
        metrics.ter: sacrebleu.TER,
    }
    if statistic not in made:
        return None
    references, answers = zip(*items, strict=True)
    if not all(isinstance(text, str) for text in (*references, *answers)):
        return None
    metric = made[statistic]()
    # sacreBLEU's own significance tests rest on these two methods.
    counts = metric._extract_corpus_statistics(list(answers), [list(references)])
    return lambda picks: float(metric._aggregate_and_compute([counts[pick] for pick in picks]).score)
