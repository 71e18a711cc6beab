"""Figures 1 and 2 of the paper: the aggregates against the weight, and the four measurements of the mechanism."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.axes import dashes, dataset_legend, is_hollow, weight_axis_above, weight_categories
from analysis.figures.theme import PAGE_INCHES, RC, dataset_colours, markers
from analysis.scores.aggregates import AGGREGATE_COLUMNS
from analysis.scores.datasets import dataset_order
from analysis.scores.mechanism import MECHANISMS
from analysis.scores.sample import spread

WHISKERS = (0.09, 0.91)
"""Quantiles at the ends of the whiskers, as in the paper's figure 2."""

DOTS, POINTS = 60, 600
"""Cells drawn singly at most, in a box of figure 2 and on a line of figure 1; of more, as many spread evenly."""

APART = 0.016
"""How far the series of a panel stand apart at a weight at most, on the w_p axis."""
DENSE = 120
"""Dots at a weight from which on they are faintest."""


def figure_1(
    cells: pd.DataFrame, table: pd.DataFrame, further: Mapping[str, pd.DataFrame] | None = None
) -> Figure | None:
    """Simple and relative aggregates against w_p: above as means over base models, below for each base model.

    Args:
        cells: from ``cell_aggregates``.
        table: from ``aggregates``.
        further: label -> the table of another suite, recipe or judge, drawn above in broken lines.

    Returns:
        None where no cell has every benchmark.
    """
    if table.empty:
        return None
    datasets, further = dataset_order(table["dataset"]), further or {}
    models = sorted(set(cells["model"]))
    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_INCHES, 5.4), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True)
        for column, kind in enumerate(AGGREGATE_COLUMNS):
            upper, lower = axes[0, column], axes[1, column]
            for place, shown in enumerate([table, *further.values()]):
                _means(upper, shown, kind, datasets, place)
            _by_model(lower, cells, kind, datasets, models)
            upper.set_title(f"{'ab'[column]}  Mean over base models")
            lower.set_title(f"{'cd'[column]}  Each base model")
            lower.set_xlabel(r"transformed prompt weight $w_p$ = PLW$^{\,0.301}$", parse_math=True)
            for axis in (upper, lower):
                axis.set_ylabel(f"{kind} aggregate (0–1)")
            weight_axis_above(upper, sorted(set(table["prompt_weight"])))
        figure.align_ylabels()
        dataset_legend(figure, datasets, models, further=[f"{label} (a, b)" for label in further])
    return figure


def figure_2(shown: pd.DataFrame) -> Figure | None:
    """The mechanism: four measurements by weight, a box per dataset and weight over base models and seeds.

    Whiskers end at the quantiles 0.09 and 0.91; every cell stands as a dot as well, since a box may hold few.

    Args:
        shown: scores of one variant of the loss, from ``of_variant``.

    Returns:
        None where none of the four was measured.
    """
    panels = [
        shown[(shown["benchmark"] == benchmark) & (shown["metric"] == metric)] for benchmark, metric, *_ in MECHANISMS
    ]
    if all(panel.empty for panel in panels):
        return None
    datasets = dataset_order(shown["dataset"])
    weights = sorted(set(shown["prompt_weight"]))
    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_INCHES, 4.9), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True).flat
        for letter, axis, rows, (_, _, title, label) in zip("abcd", axes, panels, MECHANISMS, strict=True):
            axis.set_title(f"{letter}  {title}")
            axis.set_ylabel(label)
            _boxes(axis, rows, datasets, weights)
        for axis in figure.axes[2:]:
            axis.set_xlabel("prompt loss weight (PLW)")
        figure.align_ylabels()
        dataset_legend(figure, datasets, squares=True)
    return figure


def quadratic(
    x_N: NDArray[np.float64], y_N: NDArray[np.float64], at_M: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The least-squares parabola through points, read at other places; None where fewer than four points are known."""
    known_N = np.isfinite(y_N)
    if len(np.unique(x_N[known_N])) < 4:
        return None
    return np.polynomial.Polynomial.fit(x_N[known_N], y_N[known_N], 2)(at_M)


def _means(axis: Any, table: pd.DataFrame, kind: str, datasets: Sequence[str], series: int) -> None:
    colours, shapes = dataset_colours(datasets), markers(datasets)
    shift = 0.01
    for index, dataset in enumerate(datasets):
        rows = table[table["dataset"] == dataset]
        x_N, y_N = rows["w_p"].to_numpy(dtype=float), rows[kind].to_numpy(dtype=float)
        offset = shift * (index - (len(datasets) - 1) / 2)
        axis.errorbar(
            x_N + offset, y_N, rows[f"{kind}_se"].to_numpy(dtype=float), fmt=shapes[dataset], color=colours[dataset],
            markersize=3.8, elinewidth=0.7, capsize=1.6, capthick=0.7, zorder=3,
            markerfacecolor="white" if series else colours[dataset], markeredgewidth=0.8 if series else 0,
        )  # fmt: skip
        _curve(axis, x_N, y_N, color=colours[dataset], linestyle=dashes(series))


def _by_model(axis: Any, cells: pd.DataFrame, kind: str, datasets: Sequence[str], models: Sequence[str]) -> None:
    """A series each dataset and base model: its cells, or of several seeds their means among faint dots of each."""
    colours, shapes = dataset_colours(datasets), markers(datasets)
    series = [(dataset, index) for dataset in datasets for index in range(len(models))]
    several = bool(cells.duplicated(["dataset", "model", "prompt_weight"]).any())
    gap = np.diff(np.unique(cells["w_p"])).min(initial=np.inf)
    step = min(APART, 0.7 * gap / len(series)) if several else 0.0
    fullest = cells["prompt_weight"].value_counts().max()
    for place, (dataset, index) in enumerate(series):
        rows = cells[(cells["dataset"] == dataset) & (cells["model"] == models[index])]
        if rows.empty:
            continue
        x_N, y_N = rows["w_p"].to_numpy(dtype=float), rows[kind].to_numpy(dtype=float)
        offset = step * (place - (len(series) - 1) / 2)
        if several:
            shown = spread(len(rows), POINTS)
            axis.plot(
                x_N[shown] + offset, y_N[shown], ".", color=colours[dataset], markersize=3.4, markeredgewidth=0,
                alpha=max(0.3, 0.65 - 0.35 * fullest / DENSE), zorder=2,
            )  # fmt: skip
        of_weight = rows.groupby("w_p")[kind].agg(["mean", "sem"])
        axis.errorbar(
            of_weight.index + offset, of_weight["mean"], of_weight["sem"] if several else None,
            fmt=shapes[dataset], color=colours[dataset], markersize=3.2 if several else None,
            markerfacecolor="white" if is_hollow(index) else colours[dataset], markeredgewidth=0.8, elinewidth=0.7,
            zorder=3,
        )  # fmt: skip
        means_N = of_weight["mean"].to_numpy(dtype=float)
        _curve(axis, of_weight.index.to_numpy(dtype=float), means_N, color=colours[dataset], linestyle=dashes(index))


def _curve(axis: Any, x_N: NDArray[np.float64], y_N: NDArray[np.float64], **line: Any) -> None:
    if len(x_N) == 0:
        return
    at_M = np.linspace(x_N.min(), x_N.max(), 101)
    curve_M = quadratic(x_N, y_N, at_M)
    if curve_M is not None:
        axis.plot(at_M, curve_M, alpha=0.85, **line)
    else:
        # A parabola through three points would pass for a fit.
        order_N = np.argsort(x_N)
        axis.plot(x_N[order_N], y_N[order_N], alpha=0.6, linewidth=0.7, **line)


def _boxes(axis: Any, rows: pd.DataFrame, datasets: Sequence[str], weights: Sequence[float]) -> None:
    colours = dataset_colours(datasets)
    room = 0.8 / len(datasets)
    for index, dataset in enumerate(datasets):
        of_dataset = rows[rows["dataset"] == dataset]
        middle: list[tuple[float, float]] = []
        for place, weight in enumerate(weights):
            value_N = of_dataset.loc[of_dataset["prompt_weight"] == weight, "value"].to_numpy(dtype=float)
            if len(value_N) == 0:
                continue
            x = place + room * (index - (len(datasets) - 1) / 2)
            low, *box, high = np.quantile(value_N, [WHISKERS[0], 0.25, 0.5, 0.75, WHISKERS[1]])
            drawn = {"whislo": low, "q1": box[0], "med": box[1], "q3": box[2], "whishi": high, "fliers": []}
            line = {"color": colours[dataset], "linewidth": 0.8}
            axis.bxp(
                [drawn], positions=[x], widths=room * 0.78, patch_artist=True, showfliers=False, manage_ticks=False,
                boxprops={"facecolor": colours[dataset] + "40", "edgecolor": colours[dataset], "linewidth": 0.8},
                medianprops=line | {"linewidth": 1.4}, whiskerprops=line, capprops=line,
            )  # fmt: skip
            dot_N = value_N[spread(len(value_N), DOTS)]
            axis.plot(np.full(len(dot_N), x), dot_N, ".", color=colours[dataset], markersize=2.2, zorder=4)
            middle.append((x, box[1]))
        if middle:
            axis.plot(*zip(*middle, strict=True), color=colours[dataset], linewidth=0.7, alpha=0.45, zorder=1)
    weight_categories(axis, weights)
