"""Figures 4 to 6 of the paper, each benchmark's score by weight, and the gain over PLW 0 with its intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.axes import dashes, dataset_legend, weight_ticks
from analysis.figures.theme import PAGE_INCHES, RC, dataset_colours, markers, panel_names, rows_of_datasets
from analysis.scores.aggregates import AGGREGATE_COLUMNS, GROUPINGS
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import weight_scale

BENCHMARK_FIGURES = {
    "figure4_multiple_choice": "multiple choice",
    "figure5_short_generation": "short generation and translation",
    "figure6_long_generation": "long generation",
}
"""Figure -> the grouping of benchmarks that it shows."""

PANEL_INCHES = 1.75
FEW = 4
"""Up to so many benchmarks stand in two columns, more in three."""
AXIS_MARGIN = 0.05
"""Air beside the first and the last weight, as a share of the axis."""
SHIFT = 0.011
"""Between the datasets' points of one weight, on the w_p axis."""


def figure_benchmarks(
    curves: pd.DataFrame, grouping: str, further: Mapping[str, pd.DataFrame] | None = None
) -> Figure | None:
    """A panel a benchmark: mean score by weight over base models and seeds, a line a dataset, with its intervals.

    Args:
        curves: from ``benchmark_curves``.
        grouping: one of ``analysis.scores.aggregates.GROUPINGS``.
        further: label -> the curves of another suite, recipe or judge, drawn in broken lines where a benchmark of
            that name has a panel.

    Returns:
        None where the grouping has no score.
    """
    groups = list(GROUPINGS[grouping])
    rows = curves[curves["group"].isin(groups)]
    if rows.empty:
        return None
    names = rows[["group", "benchmark"]].drop_duplicates()
    benchmarks = sorted(names.itertuples(index=False, name=None), key=lambda pair: (groups.index(pair[0]), pair[1]))
    datasets = dataset_order(curves["dataset"])
    across = min(len(benchmarks), 2 if len(benchmarks) <= FEW else 3)
    down = -(-len(benchmarks) // across)
    names_shown = [name for _, name in benchmarks]
    drawn = {label: of[of["benchmark"].isin(names_shown)] for label, of in (further or {}).items()}
    drawn = {label: of for label, of in drawn.items() if len(of)}
    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_INCHES, down * PANEL_INCHES + 0.7), layout="constrained")
        axes = figure.subplots(down, across, sharex=True, squeeze=False).ravel()
        titles = panel_names(names_shown, across)
        for axis, (_, benchmark) in zip(axes, benchmarks, strict=False):
            for place, shown in enumerate([rows, *drawn.values()]):
                _bars(axis, shown[shown["benchmark"] == benchmark], datasets, place)
            axis.set_title(titles[benchmark], fontsize=7.5)
        _share_axes(list(axes), len(benchmarks), across, sorted(set(rows["prompt_weight"])))
        dataset_legend(figure, datasets, further=list(drawn))
    return figure


def figure_gains(intervals: pd.DataFrame) -> Figure | None:
    """What each weight gains over PLW 0, with its bootstrap interval: a column a dataset, a row an aggregate.

    More than ``DATASETS_ACROSS`` datasets go on in further rows.

    Args:
        intervals: from ``bootstrap_aggregates``.

    Returns:
        None where there is no PLW 0 to compare with.
    """
    rows = intervals[intervals["quantity"] == "gain over PLW 0"]
    rows = rows.assign(w_p=weight_scale(rows["prompt_weight"]))
    if rows.empty:
        return None
    datasets = dataset_order(rows["dataset"])
    weights = [0.0, *sorted(set(rows["prompt_weight"]))]
    with mpl.rc_context(RC):
        blocks = rows_of_datasets(datasets)
        across = len(blocks[0])
        kinds = list(AGGREGATE_COLUMNS) * len(blocks)
        figure = Figure(figsize=(PAGE_INCHES, 1.8 * len(kinds)), layout="constrained")
        axes = figure.subplots(len(kinds), across, sharex=True, squeeze=False)
        titles = panel_names(datasets, across)
        for row, (line, kind) in enumerate(zip(axes, kinds, strict=True)):
            block, place = blocks[row // len(AGGREGATE_COLUMNS)], row % len(AGGREGATE_COLUMNS)
            for axis in line[len(block) :]:
                axis.set_axis_off()
            for axis, dataset in zip(line, block, strict=False):
                if axis is not axes[place, 0]:
                    axis.sharey(axes[place, 0])
                axis.tick_params(axis="y", labelleft=axis is line[0])
                if place == 0:
                    axis.set_title(titles[dataset], fontsize=7.5)
                chosen = rows[(rows["kind"] == kind) & (rows["dataset"] == dataset)]
                axis.axhline(0, color="#444444", linewidth=0.7)
                _band(axis, chosen, dataset, datasets)
                weight_ticks(axis, weights)
                axis.tick_params(axis="x", labelsize=6, labelbottom=place == len(AGGREGATE_COLUMNS) - 1)
            line[0].set_ylabel(f"{kind} aggregate,\ngain over PLW 0")
        # Drawing sets the limits by the points, and PLW 0, from which the gains are, has none.
        axes[0, 0].set_xlim(*_with_margins(weight_scale(pd.Series(weights))))
        scale = "prompt loss weight (PLW), spaced as $w_p$ = PLW$^{\\,0.301}$"
        figure.supxlabel(scale, fontsize=7.5, parse_math=True)
    return figure


def _with_margins(places: pd.Series) -> tuple[float, float]:
    low, high = float(places.min()), float(places.max())
    return low - AXIS_MARGIN * (high - low), high + AXIS_MARGIN * (high - low)


def _bars(axis: Any, rows: pd.DataFrame, datasets: Sequence[str], series: int) -> None:
    """A line of points a dataset; their intervals are bars, the datasets' slightly apart so that none hides another."""
    colours, shapes = dataset_colours(datasets), markers(datasets)
    for index, dataset in enumerate(datasets):
        line = rows[rows["dataset"] == dataset].sort_values("w_p")
        place = line["w_p"] + SHIFT * (index - (len(datasets) - 1) / 2)
        axis.vlines(place, line["low"], line["high"], color=colours[dataset], alpha=0.45, linewidth=0.7)
        axis.plot(
            place, line["mean"], color=colours[dataset], marker=shapes[dataset], markersize=3, linewidth=0.8,
            linestyle=dashes(series), markerfacecolor="white" if series else colours[dataset],
            markeredgewidth=0.8 if series else 0,
        )  # fmt: skip


def _band(axis: Any, rows: pd.DataFrame, dataset: str, among: Sequence[str]) -> None:
    colour, shape = dataset_colours(among)[dataset], markers(among)[dataset]
    line = rows.sort_values("w_p")
    if len(line) == 1:
        # A band over one weight has no width.
        axis.vlines(line["w_p"], line["low"], line["high"], color=colour, alpha=0.6, linewidth=1.1)
    axis.fill_between(line["w_p"], line["low"], line["high"], color=colour, alpha=0.18, linewidth=0)
    axis.plot(line["w_p"], line["estimate"], color=colour, marker=shape, markersize=2.8, markeredgewidth=0)


def _share_axes(axes: list[Any], used: int, across: int, weights: Sequence[float]) -> None:
    """Weights below the lowest panel of each column, scores beside the first; places without a panel stay empty."""
    for index, axis in enumerate(axes):
        weight_ticks(axis, weights)
        lowest = index + across >= used
        axis.tick_params(axis="x", labelsize=6.5, labelbottom=lowest)
        if lowest:
            axis.set_xlabel("prompt loss weight (PLW)")
        if index % across == 0:
            axis.set_ylabel("score (0–1)")
        axis.set_visible(index < used)
