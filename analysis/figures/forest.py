"""The forest plot of paired items: each weight's difference from the smallest one with its interval."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.theme import PAGE_INCHES, RC, dataset_colours, panel_names, rows_of_datasets, short_names
from analysis.inference.paired_weights import MARGIN, WeightComparison, reference_name
from analysis.tables.paired import GROUP_ORDER

BENCHMARK_NAME = 24
"""Characters of a benchmark's name at most."""
LINE_INCHES, GAP = 0.072, 1.6
"""Height of one weight's line; lines that are left free between benchmarks."""


def figure_forest(rows: Sequence[WeightComparison]) -> Figure | None:
    """A column a dataset, a row a group of benchmarks with a scale of its own; None where nothing was compared.

    More than ``DATASETS_ACROSS`` datasets go on in further rows.
    Within a benchmark the weights rise from top to bottom. A difference that is shown after Holm's correction is drawn
    strong and filled, any other faint and hollow.
    """
    from_smallest = [row for row in rows if row.from_smallest and row.found.scale]
    if not from_smallest:
        return None
    datasets = list(dict.fromkeys(row.dataset for row in from_smallest))
    present = {row.group for row in from_smallest}
    groups = [name for name in GROUP_ORDER if name in present] + sorted(present - set(GROUP_ORDER))
    weights = sorted({row.weight for row in from_smallest})
    benchmarks = {group: sorted({r.found.benchmark for r in from_smallest if r.group == group}) for group in groups}
    heights = [len(benchmarks[group]) * (len(weights) + GAP) for group in groups]
    blocks = rows_of_datasets(datasets)
    across = len(blocks[0])
    titles = panel_names(datasets, across)
    with mpl.rc_context(RC):
        tall = (sum(heights) * LINE_INCHES + 0.35 * len(groups)) * len(blocks) + 0.9
        figure = Figure(figsize=(PAGE_INCHES, tall), layout="constrained")
        axes = figure.subplots(
            len(groups) * len(blocks), across, sharex="row", sharey="row", squeeze=False,
            height_ratios=heights * len(blocks),
        )  # fmt: skip
        for row, line in enumerate(axes):
            block, group = blocks[row // len(groups)], groups[row % len(groups)]
            for axis in line[len(block) :]:
                axis.set_axis_off()
            for axis, dataset in zip(line, block, strict=False):
                if group == groups[0]:
                    axis.annotate(
                        titles[dataset], (0.5, 1), xytext=(0, 14), xycoords="axes fraction",
                        textcoords="offset points", ha="center", fontsize=8, fontweight="bold",
                    )  # fmt: skip
                panel = [row for row in from_smallest if (row.group, row.dataset) == (group, dataset)]
                _panel(axis, panel, benchmarks[group], weights, dataset_colours(datasets)[dataset])
            line[0].set_title(group.replace("_", " "), fontsize=7.5, pad=3)
        title = (
            f"difference from {reference_name(from_smallest)} in points; in a benchmark "
            f"PLW {weights[0]:g} (top) to {weights[-1]:g} (bottom)"
        )
        figure.legend(handles=_handles(), loc="outside lower center", ncols=3, title=title, title_fontsize=7.5)
    return figure


def _panel(
    axis: Any, rows: Sequence[WeightComparison], benchmarks: Sequence[str], weights: Sequence[float], colour: str
) -> None:
    block = len(weights) + GAP
    axis.axvspan(-100 * MARGIN, 100 * MARGIN, color="#EFEFEF", linewidth=0, zorder=0)
    axis.axvline(0, color="#444444", linewidth=0.7)
    for row in rows:
        place = benchmarks.index(row.found.benchmark) * block + weights.index(row.weight)
        low, middle, high = (
            value * 100 / (row.found.scale or 1) for value in (row.found.low, row.found.difference, row.found.high)
        )
        strong = row.found.shown
        axis.plot([low, high], [place] * 2, color=colour, linewidth=1.1 if strong else 0.7, alpha=1 if strong else 0.5)
        axis.plot(
            middle, place, marker="o", markersize=2.6, color=colour, markeredgewidth=0.6,
            markerfacecolor=colour if strong else "white",
        )  # fmt: skip
    middles = [number * block + (len(weights) - 1) / 2 for number in range(len(benchmarks))]
    axis.set_yticks(middles, list(short_names(benchmarks, BENCHMARK_NAME).values()))
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    axis.set_ylim(len(benchmarks) * block - GAP, -1)


def _handles() -> list[Line2D]:
    grey = "#444444"
    return [
        Line2D([], [], color=grey, marker="o", markersize=3, linewidth=1.1, label="shown after Holm's correction"),
        Line2D(
            [], [], color=grey, marker="o", markersize=3, markerfacecolor="white", linewidth=0.7, alpha=0.6,
            label="not shown",
        ),
        Line2D([], [], color="#E0E0E0", linewidth=5, label=f"within {100 * MARGIN:g} points"),
    ]  # fmt: skip
