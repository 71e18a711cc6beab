"""A score's curve over the prompt weight, with base model and seed in the model: is it flat, and how far may it bend?

A training run (base model and seed) has a level of its own. The curve is a parabola in w_p. Whether its mean over base
models is told from a flat one depends on what the base models are:

- Three or more are a sample: the curve may differ from base to base, and its error is estimated over bases
  (cluster-robust, CR2, with the degrees of freedom of Tipton and Pustejovsky 2015). The curve is tested at the middle
  and at the end of its weights, by t, and the two are combined: one test of both at once (Hotelling's) spends a degree
  of freedom more and finds little with few bases.
- Fewer cannot say how bases differ, nor can three whose weights leave less than one degree of freedom: each has a curve
  of its own, and the test is of these bases alone.

Scores of few items often leave no error: they lie on the curve, or all base models differ alike. Then t and F say
nothing, and what is counted takes their place: permutations of the weights, or base models by a sign test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.arrays import Array, Index, covariance_root
from analysis.inference.omnibus import cauchy_p, omnibus_p
from analysis.levels import CONFIDENCE, TAILS
from analysis.scores.frame import weight_from_scale

SAMPLE_OF_BASES = 3
"""So many base models are taken for a sample of all that there could be."""
GRID = 201
"""Places on w_p at which the curve is looked at."""
DRAWS = 2000
SAME_SCORE = 1e-9
"""Scores on 0 to 1 that differ by less are the same: what is left is rounding."""
INTERVAL_SEED = 0


@dataclass(frozen=True, kw_only=True)
class WeightCurve:
    """The fitted curve: ``at_0`` plus what ``slope_C`` makes of w_p (and of w_p^2), between the weights of the data.

    Differences are from the smallest of these weights, which is 0 where the study has it.
    """

    at_0: float
    """Mean of the runs' levels at weight 0; without that weight in the data it is no score, see ``at_start``."""
    slope_C: Array
    covariance_CC: Array
    df: float
    """Degrees of freedom of the covariance."""
    over_bases: bool
    """Whether the error is over base models as a sample; else the curve is that of these base models."""
    largest_w: float
    """Largest w_p of the data; beyond it the curve is not looked at."""
    smallest_w: float = 0.0
    """Smallest w_p of the data, likewise."""
    units: int = 0
    """Base models of the sample, for the sign test; 0 where they are none."""
    misfit: float = 0.0
    """The most by which the mean of the cells at a weight lies off the curve."""
    exact_p: float | None = None
    """Of these bases, where their scores lie on the curve: of a permutation test; None where the cells are too few."""

    @property
    def still(self) -> bool:
        """Whether the scores that it was fitted to never vary with the weight: nothing is known of its error then."""
        return not self.slope_C.any() and not self.covariance_CC.any()

    @property
    def exact(self) -> bool:
        """Whether there is no error at a place that determines the curve: that is no certainty."""
        return bool((self._at_places[1] <= SAME_SCORE).any())

    @property
    def decides(self) -> bool:
        """Whether there is a test: not where the scores of these bases lie on the curve and are too few to permute."""
        return self.over_bases or self.still or not self.exact or self.exact_p is not None

    @property
    def p(self) -> float:
        """Of the hypothesis that the curve is flat: F for these bases, t at two places combined for a sample.

        Without an error ``exact_p`` for these bases (1 where nothing decides), a sign test over those of a sample.
        """
        if self.still:
            return 1.0
        if not self.over_bases:
            if self.exact:
                return 1.0 if self.exact_p is None else self.exact_p
            wald = float(self.slope_C @ np.linalg.pinv(self.covariance_CC) @ self.slope_C)
            return float(stats.f.sf(wald / len(self.slope_C), len(self.slope_C), self.df))
        difference_2, error_2 = self._at_places
        known_2 = error_2 > SAME_SCORE
        t_2 = np.abs(difference_2) / np.where(known_2, error_2, 1)
        sign_2 = np.where(np.abs(difference_2) > SAME_SCORE, min(1.0, 2 * 0.5**self.units), 1.0)
        return cauchy_p(np.where(known_2, 2 * stats.t.sf(t_2, self.df), sign_2))

    @property
    def _at_places(self) -> tuple[Array, Array]:
        """Differences from the start, and their errors, at the places that determine it: its middle, its end."""
        terms = len(self.slope_C)
        place_2 = self.smallest_w + (self.largest_w - self.smallest_w) * np.arange(1, terms + 1) / terms
        power_2C = self._powers(place_2)
        variance_2 = np.einsum("pc,cd,pd->p", power_2C, self.covariance_CC, power_2C)
        return power_2C @ self.slope_C, np.sqrt(np.maximum(variance_2, 0))  # rounding may leave less than 0

    @property
    def w_M(self) -> Array:
        """Where the curve is looked at, on the scale of w_p."""
        return np.linspace(self.smallest_w, self.largest_w, GRID)

    @property
    def difference_M(self) -> Array:
        """From the smallest weight."""
        return self._powers(self.w_M) @ self.slope_C

    @property
    def at_start(self) -> float:
        """Mean of the runs' levels at the smallest weight."""
        return self.at_0 + float(sum(c * self.smallest_w ** (term + 1) for term, c in enumerate(self.slope_C)))

    def _powers(self, w_M: Array) -> Array:
        """What multiplies ``slope_C`` in the differences from the smallest weight."""
        return np.stack(
            [w_M ** (term + 1) - self.smallest_w ** (term + 1) for term in range(len(self.slope_C))], axis=1
        )

    def bounds(self) -> tuple[Array, Array]:
        """Simultaneous 95 % band of the differences from the smallest weight, at ``w_M``.

        For these bases Scheffé's. For a sample the curves whose middle and end both lie within their intervals
        (Bonferroni), as the test has it.
        """
        terms = len(self.slope_C)
        if self.over_bases:
            at_M = (self.w_M - self.smallest_w) / (self.largest_w - self.smallest_w)
            share_MC = np.stack([4 * at_M * (1 - at_M), at_M * (2 * at_M - 1)] if terms == 2 else [at_M], axis=1)
            critical = float(stats.t.isf((1 - CONFIDENCE) / 2 / terms, self.df))
            half_M = np.abs(share_MC) @ (critical * self._at_places[1])
        else:
            power_MC = self._powers(self.w_M)
            variance_M = np.einsum("mc,cd,md->m", power_MC, self.covariance_CC, power_MC)
            critical = float(stats.f.ppf(CONFIDENCE, terms, self.df)) * terms
            half_M = np.sqrt(critical * np.maximum(variance_M, 0))
        return self.difference_M - half_M, self.difference_M + half_M

    def best(self) -> tuple[float, float, float]:
        """The weight (PLW) at which the curve is highest, with a 95 % interval.

        The interval is of the highest place of curves drawn around the fitted one. A curve that runs beyond the full
        score is cut there: it is highest from where it reaches it, and the interval has all places where it is cut.
        """
        generator = np.random.default_rng(INTERVAL_SEED)
        terms = len(self.slope_C)
        noise_ZC = generator.normal(size=(DRAWS, terms)) @ covariance_root(self.covariance_CC).T
        noise_ZC /= np.sqrt(generator.chisquare(self.df, size=(DRAWS, 1)) / self.df)
        # The level is that of the fitted curve: drawn anew it would move all places alike.
        drawn_ZM = self._cut((self.slope_C + noise_ZC) @ self._powers(self.w_M).T)
        low = np.quantile(self.w_M[drawn_ZM.argmax(axis=1)], TAILS[0])
        high = np.quantile(self.w_M[GRID - 1 - drawn_ZM[:, ::-1].argmax(axis=1)], TAILS[1])
        best = self.w_M[int(self._cut(self.difference_M).argmax())]
        return weight_from_scale(float(best)), weight_from_scale(float(low)), weight_from_scale(float(high))

    def lowest(self) -> float:
        """The weight (PLW) at which the curve is lowest; of one that runs below 0, where it reaches it."""
        return weight_from_scale(float(self.w_M[int(self._cut(self.difference_M).argmin())]))

    def _cut(self, difference_M: Array) -> Array:
        """Differences from the smallest weight that leave the score within its range, 0 to 1."""
        return np.clip(difference_M, min(0.0, -self.at_start), max(0.0, 1 - self.at_start))

    @property
    def place(self) -> int:
        """Where in ``w_M`` the curve is farthest in the direction of its shape: at its best, or at its lowest."""
        cut_M = self._cut(self.difference_M)
        return int(cut_M.argmax() if self.shape in ("up", "peak") else cut_M.argmin())

    @property
    def shape(self) -> str:
        """``up``, ``down``, ``peak`` or ``dip``: a turn inside counts where its lesser side is a third of the other."""
        difference_M = self.difference_M
        end = float(difference_M[-1])
        for name, turn, sign in (("peak", difference_M.max(), 1), ("dip", difference_M.min(), -1)):
            sides = sorted((sign * float(turn), sign * float(turn - end)))
            if sides[0] > 0 and sides[0] >= sides[1] / 3:
                return name
        return "up" if end > 0 else "down"


def fit_curve(score_N: Array, w_N: Array, base_N: Sequence[str], run_N: Sequence[str]) -> WeightCurve | None:
    """Fit the curve; None where the rows do not determine it and its error.

    A run of one weight alone says nothing of the curve: it takes no part, and its base model does not count.

    Args:
        score_N: One score a cell.
        w_N: The cells' weights on the scale of w_p.
        base_N: Base model.
        run_N: Training run: base model and seed together. Each has a level of its own.
    """
    keep_N = _of_several_weights(w_N, run_N)
    score_N, w_N = score_N[keep_N], w_N[keep_N]
    base_N, run_N = ([name for name, keep in zip(names, keep_N, strict=True) if keep] for names in (base_N, run_N))
    terms = min(2, len(np.unique(w_N)) - 1)
    if terms < 1:
        return None
    base, run = _codes(base_N), _codes(run_N)
    level_NC = (run[:, None] == np.arange(run.max() + 1)).astype(float)
    power_NC = np.stack([w_N ** (term + 1) for term in range(terms)], axis=1)
    found = _over_bases(score_N, level_NC, power_NC, base) if base.max() + 1 >= SAMPLE_OF_BASES else None
    if found is None:
        found = _of_these_bases(score_N, level_NC, power_NC, base)
    if found is not None and same_at_every_weight(score_N, run_N):
        nothing = np.zeros(terms)
        return replace(found, slope_C=nothing, covariance_CC=np.outer(nothing, nothing))
    if found is not None and not found.over_bases and found.exact:
        return replace(found, exact_p=omnibus_p(score_N[:, None], w_N, run_N))
    return found


def _of_several_weights(w_N: Array, run_N: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each row is of a run that has two weights or more."""
    run = _codes(run_N)
    several = [bool(np.ptp(w_N[run == number]) > 0) for number in range(int(run.max(initial=-1)) + 1)]
    return np.array(several, dtype=bool)[run]


def same_at_every_weight(score_NG: Array, run_N: Sequence[str]) -> bool:
    """Whether no run's scores vary, of none of the columns where there are several."""
    run = _codes(run_N)
    return all(bool((np.ptp(score_NG[run == number], axis=0) < SAME_SCORE).all()) for number in range(run.max() + 1))


def _of_these_bases(score_N: Array, level_NC: Array, power_NC: Array, base_N: Index) -> WeightCurve | None:
    """A curve for each base where the weights suffice, else one for all; the mean curve and its residual error."""
    terms = power_NC.shape[1]
    own = (base_N[:, None] == np.arange(base_N.max() + 1)).astype(float)
    for curve_NC in (np.concatenate([own * power_NC[:, [term]] for term in range(terms)], axis=1), power_NC):
        design_NC = np.concatenate([level_NC, curve_NC], axis=1)
        each = curve_NC.shape[1] // terms
        contrast = np.zeros((1 + terms, design_NC.shape[1]))
        contrast[0, : level_NC.shape[1]] = 1 / level_NC.shape[1]
        for term in range(terms):
            place = level_NC.shape[1] + term * each
            contrast[1 + term, place : place + each] = 1 / each
        inverse = np.linalg.pinv(design_NC)
        df = len(score_N) - int(np.linalg.matrix_rank(design_NC))
        if df < 1 or not np.allclose(contrast @ inverse @ design_NC, contrast, atol=1e-8):
            continue
        coefficients = inverse @ score_N
        residual_N = score_N - design_NC @ coefficients
        variance = float((residual_N**2).sum()) / df
        mean = contrast @ coefficients
        covariance = variance * (contrast @ inverse) @ (contrast @ inverse).T
        return WeightCurve(
            at_0=float(mean[0]), slope_C=mean[1:], covariance_CC=covariance[1:, 1:], df=df, over_bases=False,
            largest_w=float(power_NC[:, 0].max()), smallest_w=float(power_NC[:, 0].min()),
            misfit=_misfit(residual_N, power_NC[:, 0]),
        )  # fmt: skip
    return None


def _over_bases(score_N: Array, level_NC: Array, power_NC: Array, base_N: Index) -> WeightCurve | None:
    """One curve, its covariance by CR2 over bases, with the degrees of freedom of the approximate Hotelling test."""
    terms = power_NC.shape[1]
    design_NC = np.concatenate([level_NC, power_NC], axis=1)
    if np.linalg.matrix_rank(design_NC) < design_NC.shape[1]:
        return None
    inverse_CN = np.linalg.pinv(design_NC)
    keep_NN = np.eye(len(score_N)) - design_NC @ inverse_CN
    slope_CN = inverse_CN[-terms:]
    # Each base's share of the curve's error, as what multiplies the scores.
    share_GCN = np.stack([
        slope_CN[:, rows] @ _inverse_root(keep_NN[np.ix_(rows, rows)]) @ keep_NN[rows]
        for rows in (np.flatnonzero(base_N == base) for base in range(int(base_N.max()) + 1))
    ])  # fmt: skip
    error_GC = share_GCN @ score_N
    covariance_CC = error_GC.T @ error_GC
    df = _hotelling_df(share_GCN, slope_CN)
    if df < 1 - SAME_SCORE:  # but for rounding
        return None
    coefficients = inverse_CN @ score_N
    return WeightCurve(
        at_0=float(coefficients[:-terms].mean()), slope_C=coefficients[-terms:], covariance_CC=covariance_CC, df=df,
        over_bases=True, largest_w=float(power_NC[:, 0].max()), smallest_w=float(power_NC[:, 0].min()),
        units=int(base_N.max()) + 1, misfit=_misfit(score_N - design_NC @ coefficients, power_NC[:, 0]),
    )  # fmt: skip


def _misfit(residual_N: Array, w_N: Array) -> float:
    return max(abs(float(residual_N[w_N == weight].mean())) for weight in np.unique(w_N))


def _hotelling_df(share_GCN: Array, slope_CN: Array) -> float:
    """Degrees of freedom of the Wishart distribution that varies as the covariance does if errors are independent."""
    terms = slope_CN.shape[0]
    root_CC = _inverse_root(slope_CN @ slope_CN.T)
    scaled_GCN = np.einsum("cd,gdn->gcn", root_CC, share_GCN)
    inner = np.einsum("gcn,hdn->ghcd", scaled_GCN, scaled_GCN)
    own = np.einsum("ghcc->ghc", inner)
    variance = np.einsum("ghc,ghd->", own, own) + np.einsum("ghcd,ghdc->", inner, inner)
    return float(terms * (terms + 1) / variance)


def _inverse_root(matrix: Array) -> Array:
    """Symmetric; directions of eigenvalue 0 stay 0."""
    value, vector = np.linalg.eigh(matrix)
    known = value > 1e-9 * max(1.0, float(value.max()))
    return np.asarray((vector[:, known] / np.sqrt(value[known])) @ vector[:, known].T)


def _codes(labels: Sequence[str]) -> Index:
    return np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1].astype(np.intp)
