"""Mean scores by weight, where no parabola goes through them: a jump between weight 0 and all others, or a wave.

Whether a parabola goes through them is told by what training runs share beside their own: runs that repeat each other
off their curves do not err by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.arrays import Array
from analysis.inference.weight_curve import SAME_SCORE, SAMPLE_OF_BASES
from analysis.levels import CONFIDENCE
from analysis.scores.frame import weight_from_scale

MISFIT_SIGNIFICANCE = 0.01
"""Of the test that a parabola goes through the means, corrected: only what is plain takes the curve's place."""
MISFIT_SHARE = 0.25
"""Of the largest change of the means: a curve that misses them by less says well enough how they move."""


@dataclass(frozen=True, kw_only=True)
class MeanChange:
    """The mean score at a weight less that at the smallest, of the runs that have both; on the score's own range."""

    weight: float
    """PLW."""
    change: float
    low: float
    """Ends of the 95 % interval, simultaneous over the weights (Bonferroni)."""
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval excludes 0; one without width is no certainty."""
        return self.high - self.low > SAME_SCORE and (self.low > 0 or self.high < 0)


def off_parabola_p(score_N: Array, w_N: Array, run_N: Sequence[str]) -> float | None:
    """P of the hypothesis that each run's scores lie on a parabola of its own but for chance.

    The F test of lack of fit: what the runs have in common off their parabolas, over what each has alone.

    Args:
        score_N: One score a cell.
        w_N: The cells' weights on the scale of w_p.
        run_N: Training run: base model and seed together.

    Returns:
        None where there are no repetitions to tell it from, or where they leave no error.
    """
    run = np.unique(np.asarray(run_N, dtype=str), return_inverse=True)[1]
    own_NC = (run[:, None] == np.arange(run.max(initial=-1) + 1)).astype(float)
    each_NC = np.concatenate([own_NC, own_NC * w_N[:, None], own_NC * w_N[:, None] ** 2], axis=1)
    shared_NC = np.concatenate([each_NC, (w_N[:, None] == np.unique(w_N)).astype(float)], axis=1)
    (rest, df), (rest_shared, df_shared) = _left(score_N, each_NC), _left(score_N, shared_NC)
    if df_shared < 1 or df == df_shared or rest_shared <= df_shared * SAME_SCORE**2:
        return None
    found = (rest - rest_shared) / (df - df_shared) / (rest_shared / df_shared)
    return float(stats.f.sf(found, df - df_shared, df_shared))


def mean_changes(score_N: Array, w_N: Array, base_N: Sequence[str], run_N: Sequence[str]) -> list[MeanChange]:
    """One for each weight but the smallest that two units or more share with it.

    Three base models or more are the units, else training runs. Of two units the error is what levels of units and
    weights leave over all weights.
    """
    unit_N = np.asarray(base_N if len(set(base_N)) >= SAMPLE_OF_BASES else run_N, dtype=str)
    weights = np.unique(w_N)
    mean_UW = np.array([[_mean(score_N[(unit_N == unit) & (w_N == w)]) for w in weights] for unit in np.unique(unit_N)])
    change_UW = (mean_UW - mean_UW[:, :1])[:, 1:]
    tail = (1 - CONFIDENCE) / 2 / max(1, len(weights) - 1)
    unit_M, weight_M = np.nonzero(np.isfinite(mean_UW))
    level_MC = np.concatenate([np.eye(len(mean_UW))[unit_M], np.eye(len(weights))[weight_M]], axis=1)
    rest, rest_df = _left(mean_UW[unit_M, weight_M], level_MC)
    found = []
    for place in np.flatnonzero(np.isfinite(change_UW).sum(axis=0) > 1):
        known_U = change_UW[np.isfinite(change_UW[:, place]), place]
        variance, df = float(known_U.var(ddof=1)), len(known_U) - 1
        if df == 1:
            variance, df = 2 * rest / rest_df, rest_df
        half = float(stats.t.isf(tail, df)) * np.sqrt(variance / len(known_U))
        change = float(known_U.mean())
        weight = weight_from_scale(float(weights[place + 1]))
        found.append(MeanChange(weight=weight, change=change, low=change - half, high=change + half))
    return found


def _mean(score_N: Array) -> float:
    return float(score_N.mean()) if len(score_N) else float("nan")


def _left(score_N: Array, design_NC: Array) -> tuple[float, int]:
    """Sum of squares and degrees of freedom that a design leaves."""
    residual_N = score_N - design_NC @ (np.linalg.pinv(design_NC) @ score_N)
    return float(residual_N @ residual_N), len(score_N) - int(np.linalg.matrix_rank(design_NC))
