"""How well a regression fits, as a picture: its uniform quantile residuals by rank and by fitted value."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from analysis.figures.theme import PAGE_INCHES, RC, dataset_colours, panel_names
from analysis.inference.residuals import ResidualChecks
from analysis.scores.datasets import dataset_order
from analysis.tables.table import p_value

QUARTILES = (0.25, 0.5, 0.75)
BINS = 8
ROWS_OF_A_BIN = 10


def figure_residuals(checks: Mapping[str, ResidualChecks]) -> Figure | None:
    """Two panels a dataset: the residuals' quantiles against uniform ones, and residuals by rank of the fitted value.

    The band and the p on the left are those of the simulated studies, whose rows share random effects as the observed
    ones do. The lines on the right are the residuals' quartiles in equal shares of the ranks, where there are two
    shares at least; they should lie on 0.25, 0.5 and 0.75.

    Returns:
        None where there is nothing to show.
    """
    names = dataset_order(name for name, found in checks.items() if len(found.residual_N))
    if not names:
        return None
    colours = dataset_colours(names)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_INCHES, 0.4 + 1.75 * len(names)), layout="constrained")
        axes = figure.subplots(len(names), 2, squeeze=False)
        for (left, right), name in zip(axes, names, strict=True):
            _quantiles(left, checks[name], colours[name])
            _against_fit(right, checks[name].residual_N, checks[name].fitted_N, colours[name])
            left.set_title(panel_names(names, 2)[name])
            left.set_ylabel("observed residual")
            right.set_ylabel("residual")
        axes[-1][0].set_xlabel("expected (uniform) residual")
        axes[-1][1].set_xlabel("fitted value, by rank")
    return figure


def _quantiles(axis: "mpl.axes.Axes", found: ResidualChecks, colour: str) -> None:
    axis.fill_between(found.expected_N, *found.band_N2.T, color="#BBBBBB", alpha=0.4, linewidth=0)
    axis.plot([0, 1], [0, 1], color="#444444", linewidth=0.7)
    axis.plot(found.expected_N, found.sorted_N, ".", color=colour, markersize=2.4)
    p = p_value(found.checks.set_index("check")["p"]["uniformity"])
    said = f"uniformity: p {p if p.startswith('<') else f'= {p}'} (n = {len(found.residual_N)})"
    axis.text(0.03, 0.95, said, transform=axis.transAxes, va="top", fontsize=6.5)
    axis.set(xlim=(0, 1), ylim=(0, 1))


def _against_fit(
    axis: "mpl.axes.Axes", residual_N: NDArray[np.float64], fitted_N: NDArray[np.float64], colour: str
) -> None:
    n = len(residual_N)
    rank_N = (stats.rankdata(fitted_N) - 0.5) / n
    axis.plot(rank_N, residual_N, ".", color=colour, markersize=2.4, alpha=0.55)
    # Rows of one fitted value stand in one share: split over several, their quartiles would be lines straight up.
    share_N = np.floor(rank_N * min(BINS, max(1, n // ROWS_OF_A_BIN)))
    parts = [share_N == share for share in np.unique(share_N)]
    middle = [rank_N[part].mean() for part in parts]
    for quartile in QUARTILES:
        axis.axhline(quartile, color="#444444", linewidth=0.6, linestyle=(0, (3, 2)))
        # One point would be a line that nobody sees.
        if len(parts) > 1:
            found = [np.quantile(residual_N[part], quartile) for part in parts]
            axis.plot(middle, found, color="#222222", linewidth=1.0)
    axis.set(xlim=(0, 1), ylim=(0, 1))
