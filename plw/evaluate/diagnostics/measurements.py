"""The measurements of the PLW paper's section 5.3 that need the model or its log: loss stability, memorisation, length.

The fourth, the distance to the base model's weights, is in ``weight_distance``. A cell that was trained on preferences
has one more: how its pairs stand. None of them is a headline score.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from plw.config.evaluation import DiagnosticsConfig
from plw.errors import StageError, UserError
from plw.evaluate.models.hf import EvalModel, generate
from plw.evaluate.models.protocol import LENGTH_METRICS, Generation
from plw.progress import Progress, no_progress
from plw.results.score import Score, mean_and_error

LOSS_RSD, MEMORISATION, GENERATION_LENGTH = "loss_rsd", "memorisation", "generation_length"
PREFERENCES = "preferences"


def loss_rsd(losses: Sequence[float], window: int, suite: str) -> list[Score]:
    """Relative standard deviation of the training loss in windows of steps, averaged over the run.

    Windows do not overlap; steps at the end that fill no window are left out. In a window it is the sample standard
    deviation (denominator ``window - 1``) divided by the mean. The paper says "five-step windows" and no more; these
    three choices are ours.

    Args:
        losses: Training loss of each optimizer step, in order.
        window: Steps in a window, 2 or more.
        suite: The suite's name, for the score.

    Returns:
        One score, metric ``mean``, n = number of windows; none for a run shorter than one window.

    Raises:
        StageError: a loss is not finite, or a window's mean is not above 0.
    """
    bad = next((step for step, loss in enumerate(losses, start=1) if not math.isfinite(loss)), None)
    if bad is not None:
        raise StageError(f"training loss of step {bad} is {losses[bad - 1]}")
    bounds = range(0, len(losses) + 1, window)
    deviations = []
    for start, stop in pairwise(bounds):
        values = losses[start:stop]
        mean = math.fsum(values) / window
        if mean <= 0:
            raise StageError(f"training loss of steps {start + 1} to {stop} is {mean:g} on average; it must be above 0")
        variance = math.fsum((value - mean) ** 2 for value in values) / (window - 1)
        deviations.append(math.sqrt(variance) / mean)
    if not deviations:
        return []
    return [_mean_score(suite, LOSS_RSD, "mean", deviations, higher_is_better=False)]


def preference_fit(steps: Sequence[Mapping[str, Any]], suite: str) -> list[Score]:
    """How the pairs stand at the end of DPO (arXiv 2305.18290): means over the steps of the last epoch.

    Args:
        steps: The stage's log, a row for each optimizer step, with its ``epoch``.
        suite: The suite's name, for the score.

    Returns:
        ``accuracy``: share of pairs whose reward margin is above 0; ``margin``: mean of chosen less rejected reward, in
        nats times beta; ``chosen_reward``: its first half, below 0 where the chosen answers too have become less
        likely; ``loss``, in nats a pair. n = number of steps; none for an empty log.
    """
    last = [row for row in steps if row["epoch"] == steps[-1]["epoch"]]
    return [
        _mean_score(suite, PREFERENCES, name, [float(row[name]) for row in last], higher_is_better=higher)
        for name, higher in (("accuracy", True), ("margin", True), ("chosen_reward", None), ("loss", False))
        if last
    ]


def memorisation(
    loaded: EvalModel,
    prompts: Sequence[str],
    completions: Sequence[str],
    config: DiagnosticsConfig,
    *,
    suite: str,
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress = no_progress,
    before_words: int | None = None,
) -> list[Score]:
    """Corpus BLEU (13a tokenisation, exponential smoothing) of greedy answers to training prompts.

    Args:
        loaded: The trained model.
        prompts: Training prompts as the model saw them, template included.
        completions: The completions it was trained on, in the same order.
        config: How many prompts, drawn without replacement by ``seed``; all where there are fewer.
        suite: The suite's name, for the score.
        seed: Seed of the drawing.
        batch_size: Prompts answered at a time.
        progress: Called with the prompts done.
        before_words: The token behind which an answer's words begin, as :func:`generate` takes it.

    Returns:
        Metric ``bleu``, 0 to 100, n = prompts used; the sacreBLEU signature stands in ``library_version``.

    Raises:
        UserError: there are no prompts, or not as many completions.
    """
    import numpy as np
    import sacrebleu

    if len(prompts) != len(completions) or not prompts:
        raise UserError(f"memorisation needs a completion for each prompt; found {len(prompts)} and {len(completions)}")
    chosen = list(range(len(prompts)))
    if len(prompts) > config.memorisation_samples:
        drawn = np.random.default_rng(seed).choice(len(prompts), size=config.memorisation_samples, replace=False)
        chosen = sorted(drawn.tolist())
    answers = generate(
        loaded,
        [prompts[index] for index in chosen],
        max_new_tokens=config.memorisation_max_new_tokens,
        batch_size=batch_size,
        progress=progress,
        before_words=before_words,
        field="suite.diagnostics.memorisation_max_new_tokens",
    )
    metric = sacrebleu.BLEU(smooth_method="exp", tokenize="13a")
    bleu = metric.corpus_score([answer.text for answer in answers], [[completions[index].strip() for index in chosen]])
    return [
        Score(
            suite=suite,
            benchmark=MEMORISATION,
            metric="bleu",
            value=float(bleu.score),
            n=len(chosen),
            library_version=f"sacrebleu {metric.get_signature()}",
        )
    ]


def generation_length(generations: Sequence[Generation], suite: str) -> list[Score]:
    """Mean length of answers in tokens and in words, and the share that the model ended itself.

    Raises:
        UserError: there are no answers.
    """
    if not generations:
        raise UserError("generation length needs at least one answer")
    return [
        _mean_score(suite, GENERATION_LENGTH, metric, list(map(measure, generations)))
        for metric, measure in LENGTH_METRICS.items()
    ]


def _mean_score(suite: str, benchmark: str, metric: str, values: Sequence[float], **fields: Any) -> Score:
    """The mean with its standard error (sample standard deviation / sqrt(n))."""
    mean, stderr = mean_and_error(values)
    return Score(suite=suite, benchmark=benchmark, metric=metric, value=mean, stderr=stderr, n=len(values), **fields)
