"""Figures 3 and 7 to 9 of the paper: the predicted score over prompt weight and generation ratio."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from analysis.arrays import Array
from analysis.figures.theme import COLUMN_INCHES, RC, short_names
from analysis.gam.fit import GamFit
from analysis.gam.optimum import STAR, optima
from analysis.gam.surface import surface
from analysis.inference.ratio_model import RatioFit
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import weight_scale

COLOURS = "cividis"
"""Even in lightness, so the same in colour blindness and in grey."""
CONTOUR_LEVELS = 12
DATASET_NAME = 32
"""Characters of a dataset's name within the map at most."""
RIDGE, PALE = "#D62728", "#FFFFFF"
WEIGHT_TICKS = (0.0, 1e-3, 1e-2, 0.05, 0.1, 0.25, 0.5, 1.0)
RATIO_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
CONTOURS = {
    "figure3_ratio_contour": "all",
    "figure7_contour_all": "all",
    "figure8_contour_multiple_choice": "multiple choice",
    "figure9_contour_generation": "generation",
}
"""Stem of the files -> aggregate. The paper shows the contour of all twice: in the text, and beside the other two."""


def contour_figure(item: RatioFit) -> Figure:
    """The contour of one aggregate, which has a fit: where scores were observed, and the ridge of best weights.

    The ridge is dotted where the weight hardly matters (the paper's star).
    """
    assert item.fit is not None
    with mpl.rc_context(RC):
        figure = Figure(figsize=(COLUMN_INCHES, 2.75), layout="constrained")
        axis = figure.subplots()
        drawn = surface(item.fit)
        place_M, height_Y = weight_scale(drawn.weight_M), drawn.ratio_Y
        filled = axis.contourf(place_M, height_Y, drawn.score_YM, levels=CONTOUR_LEVELS, cmap=COLOURS)
        axis.contour(place_M, height_Y, drawn.score_YM, levels=filled.levels, colors=PALE, linewidths=0.25, alpha=0.6)
        _ridge(axis, item.fit, drawn.ratio_Y)
        _points(axis, item.points)
        _axes(axis, item.fit, item.points)
        bar = figure.colorbar(filled, ax=axis, pad=0.02, fraction=0.05)
        bar.outline.set_linewidth(0.5)
        bar.ax.tick_params(labelsize=6.5, length=2, width=0.5)
        bar.set_label(f"predicted relative score{'' if _leaves_scale(item.fit) else ' (0–1)'}", fontsize=7)
        figure.legend(loc="outside lower center", ncols=3, handlelength=1.8, columnspacing=1.2, fontsize=6.5)
    return figure


def contour_caption(item: RatioFit) -> str:
    """What the contour of an aggregate shows and what it rests on."""
    fit = item.fit
    assert fit is not None
    low, high = fit.ratio_range
    return (
        f"Predicted score by prompt weight and generation ratio, {item.aggregate}: mean over {len(fit.benchmarks)} "
        f"benchmarks of te(PLW, R_g, k=3) + benchmark, {fit.n} scores at {len(item.points)} observed points, R_g "
        f"{low:.3g} to {high:.3g}; {fit.edf_surface:.1f} of 8 degrees of freedom by {fit.method.upper()}. Scores are "
        "scaled to 0 and 1 within dataset and benchmark. The line is the best weight at each ratio, dotted where the "
        f"predicted range over the weights is under {STAR:.0%} of the scores' range. Between the observed ratios the "
        "surface is the model's."
        + " It knows no bounds: beyond 0 and 1 is what no cell can score."
        * _leaves_scale(fit)
    )


def ratio_ticks(low: float, high: float) -> list[float]:
    """Ticks of an axis of generation ratios: round ones, or the two ends where fewer than two lie between."""
    ticks = [float(tick) for tick in RATIO_TICKS if low <= tick <= high]
    return ticks if len(ticks) > 1 else [low, high]


def _leaves_scale(fit: GamFit) -> bool:
    score_YM = surface(fit).score_YM
    return bool(score_YM.min() < 0 or score_YM.max() > 1)


def _ridge(axis: Any, fit: GamFit, ratio_Y: Array) -> None:
    found = optima(fit, [float(ratio) for ratio in ratio_Y], draws=1)
    place_Y = weight_scale(np.array([best.plw for best in found]))
    starred_Y = np.array([best.starred for best in found])
    # A jump from one top to another is no part of the ridge.
    jump_Y = np.append(np.abs(np.diff(place_Y)) > 0.1, False)
    for chosen_Y, style, label in ((~starred_Y, "-", "best weight"), (starred_Y, ":", "best, hardly matters")):
        if chosen_Y.any():
            x_Y = np.where(chosen_Y & ~jump_Y, place_Y, np.nan)
            axis.plot(x_Y, ratio_Y, style, color=RIDGE, linewidth=1.8, label=label, clip_on=False, zorder=3)


def _points(axis: Any, points: pd.DataFrame) -> None:
    axis.plot(
        weight_scale(points["prompt_weight"]), points["r_g"], linestyle="none", marker="o", markersize=2.6,
        markerfacecolor=PALE, markeredgecolor="#000000", markeredgewidth=0.5, label="observed", clip_on=False, zorder=4,
    )  # fmt: skip


def _axes(axis: Any, fit: GamFit, points: pd.DataFrame) -> None:
    low, high = fit.ratio_range
    axis.set_yscale("log")
    axis.set_ylim(low, high)
    ticks = ratio_ticks(low, high)
    axis.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axis.yaxis.set_minor_locator(NullLocator())
    first, last = map(weight_scale, fit.weight_range)
    axis.set_xlim(first, last)
    inside = [tick for tick in WEIGHT_TICKS if first <= weight_scale(tick) <= last]
    axis.set_xticks([weight_scale(tick) for tick in inside], [f"{tick:g}".replace("0.", ".") for tick in inside])
    axis.grid(visible=False)
    axis.set_xlabel("prompt loss weight (PLW)")
    axis.set_ylabel(r"generation ratio $R_g$", parse_math=True)
    heights = points.groupby("dataset")["r_g"].mean()
    shown = short_names(heights.index, DATASET_NAME)
    for name in dataset_order(points["dataset"]):
        above = heights[name] < np.sqrt(low * high)
        axis.annotate(
            shown[name], (last, heights[name]), (-8, 3.5 if above else -3.5), textcoords="offset points", ha="right",
            va="bottom" if above else "top", fontsize=6, color=PALE, zorder=5,
            path_effects=[withStroke(linewidth=1.4, foreground="#000000")],
        )  # fmt: skip
