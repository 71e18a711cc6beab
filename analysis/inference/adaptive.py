"""Which prompt weight to train next, and when to stop: a decision from the trials so far.

A trial is one fine-tuning at one weight with its score. The score over w_p is taken for the study's own model of it, a
parabola, plus a smooth deviation of the same size, so that a curve with a step, or with its best at an end, is not bent
into an inverted U. All of it is Gaussian (a Gaussian process whose mean is a parabola with unknown
coefficients; Rasmussen and Williams 2006, section 2.7): what is not known beforehand, how far the curve bends and how
far two trainings at one weight differ, is summed over a small table of values, each weighted by how well it explains
the trials. ``weight_curve`` fits the same parabola by least squares; with four trials it has one degree of freedom left
for its error, so it cannot say when to stop.

- *Next* is the weight whose training is expected to raise the score of the weight that would then be chosen by most
  (knowledge gradient; Frazier, Powell and Dayanik 2009).
- *Stop* when the interval of the best weight is narrow, when the best weight is better than the chosen one by no more
  than a margin (with 95 % probability), or when the budget is spent. Where no item has another outcome under another
  weight there is nothing to decide by, and that is said.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from scipy import stats

from analysis.arrays import Array, covariance_root
from analysis.levels import CONFIDENCE, TAILS
from analysis.scores.frame import weight_from_scale, weight_scale

WEIGHTS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)
"""The PLW paper's ten weights: what is tried by default."""
REGRET_MARGIN = 0.01
"""A difference that does not matter, by default: one point of a score from 0 to 100."""
NARROW = 0.2
"""Width on w_p of an interval of the best weight that is narrow enough: the paper's weights are 0.1 apart and more."""

BENDS = (0.004, 0.012, 0.04, 0.12)
"""How far the curve may differ from its mean: standard deviations that are summed over, as shares of the full score."""
RUN_SDS = (0.001, 0.004, 0.012)
"""How far two trainings at one weight differ beyond what their items explain: likewise."""
DEVIATION, LENGTH = 1.0, 0.25
"""Size of the deviation from the parabola, relative to the bend, and the distance on w_p over which it is alike."""
NEARLY = 0.1
"""Weights whose expected scores differ by less than this share of the margin are nearly equal."""

ROUNDING = 1e-12
"""Scores and errors that differ by less are equal."""

CURVE_PLACES = 41
CURVE_DRAWS = 2000
CURVE_SEED = 0
OUTCOMES = 63
"""Outcomes of a training that are looked at ahead of it."""


class Stopped(StrEnum):
    """Why no further weight is tried."""

    INTERVAL = "interval"
    EQUIVALENCE = "equivalence"
    BUDGET = "budget"
    ALIKE = "alike"
    """No training differs from another in any item: the scores tell no weight from another."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training at one weight."""

    weight: float
    """PLW, 0 to 1."""
    score: float
    """As a share of the full score, higher is better."""
    se: float
    """Its standard error over items. What all trials share, such as how hard the items are, does not belong in it."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the trials say, and what to do next."""

    best: float
    """The weight with the highest expected score; of nearly equals one that was trained."""
    low: float
    high: float
    """The 95 % interval of the weight at which the curve is highest, widened to hold ``best``."""
    regret_bound: float
    """With 95 % probability no weight is better than ``best`` by more, as a share of the full score."""
    expected: dict[float, tuple[float, float]]
    """Weight -> expected score there and its standard deviation, less what all weights share."""
    next_weights: tuple[float, ...]
    """What to train next; empty once ``stopped``."""
    stopped: Stopped | None


@dataclass(frozen=True, kw_only=True)
class WeightChooser:
    """The rule: which weights may be tried, and when it is enough.

    Attributes:
        weights: PLW, ascending, two or more.
        budget: Trials at most, 2 or more.
        margin: Difference that does not matter, as a share of the full score.
        narrow: Width of the interval, on w_p, at which the best weight counts as found, as a share of what the weights
            span.
    """

    weights: tuple[float, ...] = WEIGHTS
    budget: int = 5
    margin: float = REGRET_MARGIN
    narrow: float = NARROW

    @property
    def first(self) -> tuple[float, ...]:
        """What is trained before anything is known: both ends, then the middle on w_p, as the budget allows."""
        middle = 0.5 * (weight_scale(self.weights[0]) + weight_scale(self.weights[-1]))
        inner = sorted(self.weights[1:-1], key=lambda weight: abs(weight_scale(weight) - middle))[:1]
        return tuple(sorted([self.weights[0], self.weights[-1], *inner][: self.budget]))

    def decide(self, trials: Sequence[Trial]) -> Decision:
        """What the trials say and what to try next.

        The same trials give the same decision, in whatever order they stand, so that a search that was stopped goes on
        as if it had not been.

        Raises:
            ValueError: fewer than two trials.
        """
        if len(trials) < 2:
            raise ValueError("a curve needs two trials or more")
        posterior = _posterior(tuple(sorted(trials, key=lambda trial: (trial.weight, trial.score))), self.weights)
        chosen = self._chosen(posterior.mean_M[: len(self.weights)], {trial.weight for trial in trials})
        curve_ZM = posterior.draws()
        top_Z = curve_ZM.argmax(axis=1)
        low, high = np.quantile(posterior.w_M[top_Z], TAILS)
        regret = float(np.quantile(curve_ZM.max(axis=1) - curve_ZM[:, chosen], CONFIDENCE))
        stopped = self._stopped(trials, high - low, regret)
        left = set(self.first) - {trial.weight for trial in trials}
        return Decision(
            best=self.weights[chosen],
            low=max(self.weights[0], min(weight_from_scale(float(low)), self.weights[chosen])),
            high=min(self.weights[-1], max(weight_from_scale(float(high)), self.weights[chosen])),
            regret_bound=regret,
            expected={
                weight: (float(posterior.mean_M[place]), float(posterior.sd_M[place]))
                for place, weight in enumerate(self.weights)
            },
            next_weights=() if stopped else tuple(sorted(left)) or (self._next(posterior, trials),),
            stopped=stopped,
        )

    def _chosen(self, mean_W: Array, trained: set[float]) -> int:
        """The highest; of nearly equals one that is trained, whose model is there already."""
        good = np.flatnonzero(mean_W >= mean_W.max() - NEARLY * self.margin)
        there = [place for place in good if self.weights[place] in trained]
        return int(max(there or good, key=lambda place: mean_W[place]))

    def _stopped(self, trials: Sequence[Trial], width: float, regret: float) -> Stopped | None:
        if len(trials) >= len(self.first):
            if _alike(trials):
                return Stopped.ALIKE
            if width <= self.narrow * (weight_scale(self.weights[-1]) - weight_scale(self.weights[0])):
                return Stopped.INTERVAL
            if regret <= self.margin:
                return Stopped.EQUIVALENCE
        return Stopped.BUDGET if len(trials) >= self.budget else None

    def _next(self, posterior: "_Posterior", trials: Sequence[Trial]) -> float:
        """The weight of the highest knowledge gradient; of equals the one tried least, then the first."""
        gain_W = posterior.gains(len(self.weights), float(np.mean([trial.se**2 for trial in trials])))
        tried = Counter(trial.weight for trial in trials)
        order = sorted(
            range(len(self.weights)), key=lambda place: (-round(float(gain_W[place]), 9), tried[self.weights[place]])
        )
        return self.weights[order[0]]


def _alike(trials: Sequence[Trial]) -> bool:
    """Whether all scores are equal and exactly known: then every item came out alike under every weight."""
    score_N, se_N = (np.array(values) for values in zip(*((trial.score, trial.se) for trial in trials), strict=True))
    return bool(np.ptp(score_N) < ROUNDING and se_N.max() < ROUNDING)


@dataclass(frozen=True, kw_only=True)
class _Posterior:
    """The curve after the trials, at M places: for each of the H settings a weight, a mean and a covariance."""

    w_M: Array
    weight_H: Array
    mean_HM: Array
    covariance_HMM: Array
    run_variance_H: Array

    @cached_property
    def mean_M(self) -> Array:
        return self.weight_H @ self.mean_HM

    @cached_property
    def sd_M(self) -> Array:
        """Of the curve less its mean over the places, which no choice depends on."""
        level = np.eye(len(self.w_M)) - 1 / len(self.w_M)
        within_M = np.einsum("h,hmm->m", self.weight_H, level @ self.covariance_HMM @ level)
        between_M = self.weight_H @ ((self.mean_HM - self.mean_M) @ level) ** 2
        sd_M: Array = np.sqrt(np.maximum(within_M + between_M, 0))
        return sd_M

    def draws(self) -> Array:
        """Curves as they may be, [Z, M]."""
        generator = np.random.default_rng(CURVE_SEED)
        count_H = np.round(self.weight_H * CURVE_DRAWS).astype(int)
        noise_ZM = generator.normal(size=(count_H.sum(), len(self.w_M)))
        parts, start = [], 0
        for mean_M, covariance_MM, count in zip(self.mean_HM, self.covariance_HMM, count_H, strict=True):
            if count:
                parts.append(mean_M + noise_ZM[start : start + count] @ covariance_root(covariance_MM).T)
                start += count
        return np.concatenate(parts)

    def gains(self, choices: int, item_variance: float) -> Array:
        """For a training at each of the first places: by how much it is expected to raise the best expected score."""
        z_Z = _normal_quantiles()
        mean_W = self.mean_M[:choices]
        gain_W = np.zeros(choices)
        for weight, covariance_MM, run_variance in zip(
            self.weight_H, self.covariance_HMM, self.run_variance_H, strict=True
        ):
            covariance_WW = covariance_MM[:choices, :choices]
            spread_WW = covariance_WW / np.sqrt(np.diag(covariance_WW) + item_variance + run_variance)
            after_ZWW = mean_W[None, :, None] + z_Z[:, None, None] * spread_WW[None]
            gain_W += weight * (after_ZWW.max(axis=1).mean(axis=0) - mean_W.max())
        return gain_W


def _posterior(trials: tuple[Trial, ...], weights: tuple[float, ...]) -> _Posterior:
    """Gaussian regression of the trials under each setting, the settings weighted by the trials' likelihood."""
    w_W = weight_scale(np.array(weights))
    # Between the weights that may be tried alone: nothing is asked, or known, of others.
    w_M = np.concatenate([w_W, np.linspace(w_W.min(), w_W.max(), CURVE_PLACES)])
    w_N = weight_scale(np.array([trial.weight for trial in trials]))
    score_N = np.array([trial.score for trial in trials])
    centred_N = score_N - score_N.mean()
    item_variance_N = np.array([trial.se for trial in trials]) ** 2
    shape_NN, shape_MN, shape_MM = _shape(w_N, w_N), _shape(w_M, w_N), _shape(w_M, w_M)
    found: list[tuple[float, Array, Array, float]] = []
    for bend, run_sd in product(BENDS, RUN_SDS):
        noise_NN = np.diag(item_variance_N + run_sd**2 + 1e-12)
        # The level of the scores may be anything.
        solved_NN = np.linalg.inv(bend**2 * shape_NN + 1.0 + noise_NN)
        cross_MN = bend**2 * shape_MN + 1.0
        gain_MN = cross_MN @ solved_NN
        log_likelihood = 0.5 * (np.linalg.slogdet(solved_NN)[1] - centred_N @ solved_NN @ centred_N)
        covariance_MM = bend**2 * shape_MM + 1.0 - gain_MN @ cross_MN.T
        found.append((float(log_likelihood), score_N.mean() + gain_MN @ centred_N, covariance_MM, run_sd**2))
    likelihood_H = np.array([item[0] for item in found])
    weight_H = np.exp(likelihood_H - likelihood_H.max())
    return _Posterior(
        w_M=w_M,
        weight_H=weight_H / weight_H.sum(),
        mean_HM=np.stack([item[1] for item in found]),
        covariance_HMM=np.stack([item[2] for item in found]),
        run_variance_H=np.array([item[3] for item in found]),
    )


def _shape(a_M: Array, b_N: Array) -> Array:
    """Covariance of two places of a curve of bend 1: a straight line, a parabola and a smooth deviation.

    Line and parabola are Legendre's polynomials on 0 to 1, so that both ends are alike.
    """
    line = np.outer(2 * a_M - 1, 2 * b_N - 1)
    parabola = np.outer(6 * a_M**2 - 6 * a_M + 1, 6 * b_N**2 - 6 * b_N + 1)
    smooth = np.exp(-0.5 * ((a_M[:, None] - b_N[None, :]) / LENGTH) ** 2)
    shape: Array = line + 0.5 * parabola + DEVIATION**2 * smooth
    return shape


@lru_cache(maxsize=1)
def _normal_quantiles() -> Array:
    return np.asarray(stats.norm.ppf((np.arange(OUTCOMES) + 0.5) / OUTCOMES))
