"""Corpus metrics from counts that were made segment by segment: sacreBLEU's own, in lm-eval's settings."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from analysis.items.benchmark import Floats


@lru_cache(maxsize=8)
def metric_of(aggregation: str) -> Any:
    """The metric of sacreBLEU behind one of ``plw.items.CORPUS_METRICS``."""
    import sacrebleu

    made: dict[str, Callable[[], Any]] = {
        "bleu": sacrebleu.BLEU,
        "chrf": sacrebleu.CHRF,
        "chrf++": lambda: sacrebleu.CHRF(word_order=2),
        "ter": sacrebleu.TER,
    }
    return made[aggregation]()


def segment_counts(aggregation: str, references: Sequence[Any], answers: Sequence[Any]) -> Floats:
    """The sufficient statistics of sacreBLEU, one row a segment.

    Args:
        aggregation: One of ``plw.items.CORPUS_METRICS``.
        references: A text or a list of texts each; lists must have one length, as for lm-eval.
        answers: A text each, or a list that holds it alone.
    """
    several = [[item] if isinstance(item, str) else list(item) for item in references]
    texts = [item if isinstance(item, str) else item[0] for item in answers]
    # sacreBLEU's own significance tests rest on this method and the next.
    counts = metric_of(aggregation)._extract_corpus_statistics(
        texts, [list(stream) for stream in zip(*several, strict=True)]
    )
    return np.array(counts, dtype=np.float64)


def corpus_scores(aggregation: str, sums_ZC: Floats) -> Floats:
    """The metric of each row of summed counts."""
    compute = metric_of(aggregation)._compute_score_from_stats
    return np.array([compute(list(sums_C)).score for sums_C in sums_ZC], dtype=np.float64)
