"""The learning rate over the steps: linear warm-up, then cosine, linear or constant, equal to transformers' own."""

import math


def learning_rate(schedule: str, peak: float, step: int, total: int, warmup: int) -> float:
    """The rate that optimizer step ``step`` (from 0) uses.

    As in transformers' ``get_scheduler``, the first warm-up step has rate 0 and the step after the last would end at 0
    (cosine, linear).

    Args:
        schedule: ``cosine`` (half a wave), ``linear`` or ``constant``.
        peak: rate after the warm-up.
        step: from 0.
        total: steps of the run.
        warmup: steps of the warm-up.
    """
    if step < warmup:
        return peak * step / max(1, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    if schedule == "cosine":
        return peak * max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
    if schedule == "linear":
        return peak * max(0.0, 1.0 - progress)
    if schedule == "constant":
        return peak
    raise ValueError(f"unknown schedule {schedule}")
