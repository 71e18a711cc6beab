"""How well a regression fits, as a picture: its uniform quantile residuals by rank and by fitted value."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from analysis.figures.theme import PAGE_INCHES, RC, dataset_colours
from analysis.scores.datasets import dataset_order

Residuals = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Uniform quantile residuals on 0 to 1, and the fitted values, one of each a row."""

QUARTILES = (0.25, 0.5, 0.75)
BINS = 8


def figure_residuals(checks: Mapping[str, Residuals]) -> Figure | None:
    """Two panels a dataset: the residuals' quantiles against uniform ones, and residuals by rank of the fitted value.

    The band on the left holds the whole curve of 95% of well-fitting models (Kolmogorov and Smirnov). The lines on the
    right are the residuals' quartiles in equal shares of the rows; they should lie on 0.25, 0.5 and 0.75.

    Args:
        checks: dataset -> residuals and fitted values; NaNs are left out.

    Returns:
        None where there is nothing to show.
    """
    known = {name: _finite(*pair) for name, pair in checks.items()}
    names = dataset_order(name for name, (residual_N, _) in known.items() if len(residual_N))
    if not names:
        return None
    colours = dataset_colours(names)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_INCHES, 0.4 + 1.75 * len(names)), layout="constrained")
        axes = figure.subplots(len(names), 2, squeeze=False)
        for (left, right), name in zip(axes, names, strict=True):
            residual_N, fitted_N = known[name]
            _quantiles(left, residual_N, colours[name])
            _against_fit(right, residual_N, fitted_N, colours[name])
            left.set_title(name)
            left.set_ylabel("observed residual")
            right.set_ylabel("residual")
        axes[-1][0].set_xlabel("expected (uniform) residual")
        axes[-1][1].set_xlabel("fitted value, by rank")
    return figure


def _finite(residual_N: NDArray[np.float64], fitted_N: NDArray[np.float64]) -> Residuals:
    both_N = np.isfinite(residual_N) & np.isfinite(fitted_N)
    return residual_N[both_N], fitted_N[both_N]


def _quantiles(axis: "mpl.axes.Axes", residual_N: NDArray[np.float64], colour: str) -> None:
    n = len(residual_N)
    expected_N = (np.arange(n) + 0.5) / n
    distance = float(stats.kstwo.ppf(0.95, n))
    line = np.array([0.0, 1.0])
    axis.fill_between(line, line - distance, line + distance, color="#BBBBBB", alpha=0.4, linewidth=0)
    axis.plot(line, line, color="#444444", linewidth=0.7)
    axis.plot(expected_N, np.sort(residual_N), ".", color=colour, markersize=2.4)
    p = float(stats.kstest(residual_N, "uniform").pvalue)
    axis.text(0.03, 0.95, f"uniform: p = {p:.2g} (n = {n})", transform=axis.transAxes, va="top", fontsize=6.5)
    axis.set(xlim=(0, 1), ylim=(0, 1))


def _against_fit(
    axis: "mpl.axes.Axes", residual_N: NDArray[np.float64], fitted_N: NDArray[np.float64], colour: str
) -> None:
    n = len(residual_N)
    rank_N = (stats.rankdata(fitted_N) - 0.5) / n
    axis.plot(rank_N, residual_N, ".", color=colour, markersize=2.4, alpha=0.55)
    parts = np.array_split(np.argsort(rank_N, kind="stable"), min(BINS, max(1, n // 10)))
    middle = [rank_N[part].mean() for part in parts]
    for quartile in QUARTILES:
        axis.axhline(quartile, color="#444444", linewidth=0.6, linestyle=(0, (3, 2)))
        axis.plot(middle, [np.quantile(residual_N[part], quartile) for part in parts], color="#222222", linewidth=1.0)
    axis.set(xlim=(0, 1), ylim=(0, 1))
