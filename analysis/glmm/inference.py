"""What is asked of a fitted parabola: do its terms differ from 0, and at which prompt weight is its top?"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.arrays import Array
from analysis.levels import CONFIDENCE
from analysis.scores.frame import weight_from_scale


@dataclass(frozen=True, kw_only=True)
class ChiSquareTest:
    """A chi-square test; None where the fit gave no covariance, or no null model."""

    chisq: float | None
    df: int
    p: float | None


@dataclass(frozen=True, kw_only=True)
class FTest:
    """An F test; None where the fit gave no covariance."""

    f: float | None
    df1: int
    df2: int
    p: float | None


@dataclass(frozen=True, kw_only=True)
class ParabolaOptimum:
    """The prompt weight at the top of the curve with a 95% interval; all None where it has no top between 0 and 1."""

    plw: float | None = None
    low: float | None = None
    high: float | None = None
    remark: str = ""
    """Why there is no optimum, in words."""


def chi_square(value: float | None, df: int = 2) -> ChiSquareTest:
    """The test of a statistic that is chi-square under the null hypothesis; below 0 it counts as 0."""
    if value is None or not math.isfinite(value):
        return ChiSquareTest(chisq=None, df=df, p=None)
    return ChiSquareTest(chisq=max(value, 0.0), df=df, p=float(stats.chi2.sf(max(value, 0.0), df)))


def wald(fixed_3: Array, covariance_33: Array) -> ChiSquareTest:
    """Wald's test that both terms of the polynomial are 0; the same for every basis of the polynomial."""
    slope_2, covariance_22 = fixed_3[1:], covariance_33[1:, 1:]
    if not np.isfinite(covariance_22).all() or np.linalg.matrix_rank(covariance_22) < 2:
        return chi_square(None)
    return chi_square(float(slope_2 @ np.linalg.solve(covariance_22, slope_2)))


def f_test(of_wald: ChiSquareTest, benchmarks: int) -> FTest:
    """Wald's statistic against F with benchmarks - 1 degrees of freedom.

    The slopes' mean is known through as many draws as there are benchmarks, so the chi-square of the paper's test
    rejects too often where they are few: ``docs/statistics.md`` has the rates by simulation.
    """
    df1, df2 = of_wald.df, benchmarks - 1
    if of_wald.chisq is None:
        return FTest(f=None, df1=df1, df2=df2, p=None)
    f = of_wald.chisq / df1
    return FTest(f=f, df1=df1, df2=df2, p=float(stats.f.sf(f, df1, df2)))


def optimum_plw(w: float | None, w2: float | None) -> float | None:
    """λ* = (-b1 / (2 b2)) ** (1 / 0.30103) of raw coefficients (PLW paper, section 5.2).

    None where the curve opens upwards or its top lies outside 0 to 1.
    """
    if w is None or w2 is None or not w2 < 0:
        return None
    top = -w / (2 * w2)
    return weight_from_scale(top) if 0 <= top <= 1 else None


def best_w(w: float, w2: float) -> float:
    """Where b1 w + b2 w^2 is highest for w in [0, 1]: the top of the parabola, or the better end."""
    if w2 < 0 and 0 <= -w / (2 * w2) <= 1:
        return -w / (2 * w2)
    return 1.0 if w + w2 > 0 else 0.0


def optimum(raw_3: Array, covariance_33: Array, benchmarks: int) -> ParabolaOptimum:
    """The optimum with its interval by the delta method.

    The interval is made on the scale of w_p, where the top of the parabola is a ratio of two coefficients that are
    close to
    normal: -b1 / (2 b2) plus and minus standard errors, as many as Student's t has it with benchmarks - 1 degrees of
    freedom, cut at 0 and 1, and then brought to the scale of PLW. On the scale of PLW itself it would reach below 0
    and be far from symmetric; 1.96 standard errors would cover too seldom (``docs/statistics.md``).

    Args:
        raw_3: intercept and coefficients of w_p and w_p^2, of the raw polynomial.
        covariance_33: theirs.
        benchmarks: their number.
    """
    _, b1, b2 = (float(value) for value in raw_3)
    plw = optimum_plw(b1, b2)
    if plw is None:
        return ParabolaOptimum(remark=_why_none(b1, b2))
    gradient_3 = np.array([0.0, -1 / (2 * b2), b1 / (2 * b2**2)])
    variance = float(gradient_3 @ covariance_33 @ gradient_3)
    if not variance >= 0:
        return ParabolaOptimum(plw=plw, remark="no interval of the optimum, for want of standard errors")
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, benchmarks - 1)) * math.sqrt(variance)
    top = -b1 / (2 * b2)
    return ParabolaOptimum(
        plw=plw, low=weight_from_scale(max(top - half, 0.0)), high=weight_from_scale(min(top + half, 1.0))
    )


def _why_none(b1: float, b2: float) -> str:
    end = "1" if best_w(b1, b2) == 1.0 else "0"
    if not b2 < 0:
        return f"no optimum inside: the curve has no maximum (it opens upwards), its higher end is at PLW {end}"
    top = -b1 / (2 * b2)
    return f"no optimum inside: the top of the curve is at w_p = {top:.3g}, outside 0 to 1; highest at PLW {end}"
