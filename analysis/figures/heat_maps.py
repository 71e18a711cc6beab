"""Heat maps over both weights (WIT paper, figures 2 to 9), and what is left of them where only the ratio counts."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from analysis.arrays import Array
from analysis.figures.theme import PAGE_INCHES, RC, dataset_colours, markers, panel_names, rows_of_datasets, short_names
from analysis.levels import TAILS
from analysis.published.wit_grid import CONVENTIONAL, LossWeights, pairs, prompt_share

MODELS_ACROSS, MAP_INCHES = 5, 1.3
ROW_NAME = 16
"""Characters of a dataset's name at most, along the height of a map."""
DIVERGING, SEQUENTIAL = "RdBu", "cividis"
"""Red below 0, blue above; and for scores."""


def heat_maps(
    values: pd.DataFrame, *, unit: str, diverging: bool, lower_is_better: bool = False, good: pd.DataFrame | None = None
) -> Figure:
    """A small map for each panel, rows of datasets and columns of models.

    More than ``MODELS_ACROSS`` models go on in further rows. Long names are shown by their ends.

    Args:
        values: a row a panel (dataset, model), a column a pair (λ_p, λ_r).
        unit: what the numbers are, for the colour bar.
        diverging: whether 0 is the middle of the colours.
        lower_is_better: the best cell is the lowest.
        good: cells that get no cross, laid out as ``values``; by default no cell has one.
    """
    datasets = list(dict.fromkeys(values.index.get_level_values("dataset")))
    models = list(dict.fromkeys(values.index.get_level_values("model")))
    # Training on the prompt alone falls so far that its colour would leave none for the rest.
    trained_C = np.array([response > 0 for _, response in pairs(values)])
    limit = float(np.abs(values.to_numpy()[:, trained_C]).max())
    low, high = (-limit, limit) if diverging else (float(values.to_numpy().min()), float(values.to_numpy().max()))
    blocks = rows_of_datasets(models, MODELS_ACROSS)
    across, rows = len(blocks[0]), len(blocks) * len(datasets)
    width = min(PAGE_INCHES, MAP_INCHES * across + 1.6)
    # The labels and the bar of the colours take the rest of the width.
    titles = panel_names(models, across, width - 1.2 + 0.3 * across)
    labels = short_names(datasets, ROW_NAME)
    with mpl.rc_context(RC | {"axes.grid": False}):
        figure = Figure(figsize=(width, MAP_INCHES * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True)
        for row, line in enumerate(axes):
            block, dataset = blocks[row // len(datasets)], datasets[row % len(datasets)]
            for axis in line[len(block) :]:
                axis.set_axis_off()
            for axis, model in zip(line, block, strict=False):
                if (dataset, model) not in values.index:
                    axis.set_axis_off()
                    continue
                drawn = _map(axis, values.loc[(dataset, model)], (low, high), diverging, lower_is_better)
                if good is not None:
                    _cross(axis, good.loc[(dataset, model)])
                if dataset == datasets[0]:
                    axis.set_title(titles[model], fontsize=7)
                if model == block[0]:
                    axis.set_ylabel(f"{labels[dataset]}\nλ_p")
                if dataset == datasets[-1]:
                    axis.set_xlabel("λ_r")
                    axis.tick_params(labelbottom=True)
        bar = figure.colorbar(
            drawn,
            ax=axes,
            pad=0.01,
            fraction=0.02 if across > 2 else 0.06,
            extend=_beyond(values.to_numpy(), low, high),
        )
        bar.set_label(unit, fontsize=7)
    return figure


def _beyond(values: Array, low: float, high: float) -> str:
    """At which ends of the colours cells lie that have no colour of their own, in matplotlib's words."""
    below, above = bool((values < low).any()), bool((values > high).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]


def _map(axis: Any, values: pd.Series, limits: tuple[float, float], diverging: bool, lower_is_better: bool) -> Any:
    """One map; the best cell has a star, the usual loss a ring."""
    table = values.unstack("response_weight")
    drawn = axis.imshow(
        table.to_numpy(), origin="lower", cmap=DIVERGING if diverging else SEQUENTIAL, vmin=limits[0], vmax=limits[1]
    )
    axis.set_xticks(range(len(table.columns)), [f"{weight:g}" for weight in table.columns])
    axis.set_yticks(range(len(table.index)), [f"{weight:g}" for weight in table.index])
    axis.tick_params(length=0, labelsize=5.5)
    best: LossWeights = values.idxmin() if lower_is_better else values.idxmax()  # type: ignore[assignment]
    for pair, marker in ((best, "*"), (CONVENTIONAL, "o")):
        place = table.columns.get_loc(pair[1]), table.index.get_loc(pair[0])
        axis.plot(
            *place, marker, markersize=6, markerfacecolor="white" if marker == "*" else "none", markeredgecolor="black",
            markeredgewidth=0.7,
        )  # fmt: skip
    return drawn


def _cross(axis: Any, good: pd.Series) -> None:
    """A cross on every cell that is not good."""
    table = good.unstack("response_weight").astype(float)
    row, column = np.nonzero(table.to_numpy() == 0)
    axis.plot(column, row, linestyle="none", marker="x", markersize=3.2, markeredgewidth=0.6, color="black")


def share_figure(gain: pd.DataFrame) -> Figure:
    """Gain by λ_p / (λ_p + λ_r): panels' means over equal ratios, and the mean over models with its 95 % interval."""
    share_C = prompt_share(gain)
    by_share = gain.T.groupby(share_C).mean().T
    datasets = list(dict.fromkeys(gain.index.get_level_values("dataset")))
    colours, signs = dataset_colours(datasets), markers(datasets)
    blocks = rows_of_datasets(datasets)
    titles = panel_names(datasets, len(blocks[0]))
    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_INCHES, 2.6 * len(blocks)), layout="constrained")
        axes = figure.subplots(len(blocks), len(blocks[0]), squeeze=False, sharey=True)
        for axis in axes.flat[len(datasets) :]:
            axis.set_axis_off()
        for axis, dataset in zip(axes.flat, datasets, strict=False):
            of_model_MS = by_share.loc[dataset].to_numpy()
            x_S = by_share.columns.to_numpy(dtype=float)
            axis.plot(x_S, of_model_MS.T, color=colours[dataset], alpha=0.3, linewidth=0.7)
            mean_S = of_model_MS.mean(axis=0)
            models = len(of_model_MS)
            error_S = (
                stats.t.ppf(TAILS[1], models - 1) * of_model_MS.std(axis=0, ddof=1) / np.sqrt(models)
                if models > 1
                else np.zeros_like(mean_S)
            )
            axis.errorbar(
                x_S, mean_S, yerr=error_S, color=colours[dataset], marker=signs[dataset], capsize=1.5, elinewidth=0.7
            )
            axis.axhline(0, color="black", linewidth=0.6)
            axis.set_title(titles[dataset])
            axis.set_xlabel("λ_p / (λ_p + λ_r)")
        for axis in axes[:, 0]:
            axis.set_ylabel("gain over (0, 1), percent")
    return figure
