"""Metrics that are functions of counts, summed over items: sacreBLEU's BLEU, chrF and TER, and shares of parts."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CORPUS_METRICS = ("bleu", "chrf", "chrf++", "ter")
"""Metrics of sacreBLEU, in lm-eval's settings: from 0 to 100, functions of summed counts."""
SHARE = "share"
"""Of items with several parts, each right or wrong (IFEval's instructions), the right ones among all: from 0 to 1."""
COUNTED = (*CORPUS_METRICS, SHARE)
"""How items make a score that is a function of summed counts."""


@lru_cache(maxsize=8)
def metric_of(name: str) -> Any:
    """The metric of sacreBLEU behind one of ``CORPUS_METRICS``."""
    import sacrebleu

    made: dict[str, Callable[[], Any]] = {
        "bleu": sacrebleu.BLEU,
        "chrf": sacrebleu.CHRF,
        "chrf++": lambda: sacrebleu.CHRF(word_order=2),
        "ter": sacrebleu.TER,
    }
    return made[name]()


def segment_counts(name: str, references: Sequence[Any], answers: Sequence[Any]) -> list[list[float]]:
    """The sufficient statistics of sacreBLEU, one row a segment.

    Args:
        name: One of ``CORPUS_METRICS``.
        references: A text or a list of texts each; lists are cut to the shortest, as lm-eval cuts them.
        answers: A text each, or a list that holds it alone.
    """
    several = [[item] if isinstance(item, str) else list(item) for item in references]
    texts = [item if isinstance(item, str) else item[0] for item in answers]
    streams = [list(stream) for stream in zip(*several, strict=False)]
    # sacreBLEU's own significance tests rest on this method and the next.
    counts: list[list[float]] = metric_of(name)._extract_corpus_statistics(texts, streams)
    return counts


def corpus_scores(name: str, sums_ZC: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """The metric of each row of summed counts; ``name`` is one of ``COUNTED``."""
    import numpy as np

    if name == SHARE:
        share_Z: NDArray[np.float64] = sums_ZC[:, 0] / sums_ZC[:, 1]
        return share_Z
    compute = metric_of(name)._compute_score_from_stats
    return np.array([compute(list(sums_C)).score for sums_C in sums_ZC], dtype=np.float64)


def part_counts(outcomes: Sequence[Sequence[bool]]) -> list[list[float]]:
    """The counts of a ``SHARE``, one row an item: its parts that are right, and all of them."""
    return [[float(sum(parts)), float(len(parts))] for parts in outcomes]


def has_parts(outcome: Any) -> bool:
    """Whether an item's outcome is a list of parts, each right or wrong."""
    return isinstance(outcome, list | tuple) and bool(outcome) and all(isinstance(part, bool) for part in outcome)


def is_segment(outcome: Any) -> bool:
    """Whether an item's outcome is (reference or references, answer), as lm-eval hands them to sacreBLEU."""
    if not (isinstance(outcome, list | tuple) and len(outcome) == 2):
        return False
    references, answer = outcome
    alone = isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], str)
    texts = references if isinstance(references, list) and references else [references]
    return (isinstance(answer, str) or alone) and all(isinstance(text, str) for text in texts)
