"""Items of long generations: the length of each answer, and what a judge said of it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from plw.config.evaluation import REFERENCE
from plw.data.prompts import PromptRecord
from plw.evaluate.models.protocol import LENGTH_METRICS
from plw.results.corpus_metrics import corpus_scores, segment_counts
from plw.results.items import ItemRow, document_hash
from plw.results.score import Score

if TYPE_CHECKING:
    from plw.evaluate.judging.pairwise import Verdict
    from plw.evaluate.models.protocol import Generation

PERCENT = 100.0
CHRF = "chrf"


def answer_items(
    benchmark: str, protocol: str, prompts: Sequence[PromptRecord], answers: "Sequence[Generation]"
) -> Iterator[ItemRow]:
    """Tokens and words of each answer, and whether the model ended it."""
    hashes = _hashes(prompts)
    for metric, measure in LENGTH_METRICS.items():
        for number, (digest, answer) in enumerate(zip(hashes, answers, strict=True)):
            value = measure(answer)
            yield ItemRow(benchmark=benchmark, task=protocol, item=number, item_hash=digest, metric=metric, value=value)


def reference_overlap(
    benchmark: str,
    suite: str,
    prompts: Sequence[PromptRecord],
    references: Sequence[str],
    answers: "Sequence[Generation]",
) -> tuple[Score, list[ItemRow]]:
    """Corpus chrF of answers and references (sacreBLEU's settings, 0 to 100), and each answer's counts for it.

    chrF counts n-grams of letters, so it needs no words and no tokenizer: it serves any language.
    """
    import numpy as np

    texts = [answer.text for answer in answers]
    counts = segment_counts(CHRF, references, texts)
    value = float(corpus_scores(CHRF, np.array(counts, dtype=np.float64).sum(axis=0, keepdims=True))[0])
    score = Score(
        suite=suite, benchmark=benchmark, metric=CHRF, value=value, n=len(texts), headline=True, higher_is_better=True
    )
    rows = [
        ItemRow(
            benchmark=benchmark,
            task=REFERENCE,
            item=number,
            item_hash=digest,
            metric=CHRF,
            headline=True,
            aggregation=CHRF,
            counts=of_item,
            higher_is_better=True,
        )
        for number, (digest, of_item) in enumerate(zip(_hashes(prompts), counts, strict=True))
    ]
    return score, rows


def verdict_items(
    benchmark: str, protocol: str, prompts: Sequence[PromptRecord], verdicts: "Sequence[Verdict]"
) -> Iterator[ItemRow]:
    """The points of each prompt as the win rate counts them; null where the verdict could not be read."""
    for number, (digest, verdict) in enumerate(zip(_hashes(prompts), verdicts, strict=True)):
        yield ItemRow(
            benchmark=benchmark,
            task=protocol,
            item=number,
            item_hash=digest,
            metric="win_rate",
            headline=True,
            value=None if verdict.points is None else PERCENT * verdict.points,
            higher_is_better=True,
        )


def _hashes(prompts: Sequence[PromptRecord]) -> list[str]:
    return [document_hash(prompt.identity) for prompt in prompts]
