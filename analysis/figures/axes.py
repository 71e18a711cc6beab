"""Parts that several figures share: the axis of weights, the legend of datasets."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.figures.theme import dataset_colours, markers
from analysis.scores.frame import weight_scale

NEAR = 0.09
"""Weights that lie closer than this on the w_p axis do not both get a label in a small panel."""


def weight_axis_above(axis: Any, weights: Sequence[float]) -> None:
    """A second axis above that tells the weights themselves."""
    top = axis.secondary_xaxis("top")
    top.set_xticks(
        weight_scale(pd.Series(weights)).to_list(), [short_weight(weight) for weight in weights], rotation=55
    )
    for label in top.get_xticklabels():
        label.set(horizontalalignment="left", rotation_mode="anchor", fontsize=6.5)
    top.tick_params(length=2, pad=2)
    top.spines["top"].set_visible(False)
    top.set_xlabel("prompt loss weight (PLW)", labelpad=2)


def weight_ticks(axis: Any, weights: Sequence[float]) -> None:
    """Ticks of a w_p axis at the weights, labelled with them where there is room; the largest and smallest always."""
    places = weight_scale(pd.Series(sorted(weights))).to_list()
    labelled: list[float] = []
    for place in reversed(places):
        room = not labelled or labelled[-1] - place >= NEAR
        if room and (place == places[0] or place - places[0] >= NEAR):
            labelled.append(place)
    names = [
        short_weight(weight) if place in labelled else "" for weight, place in zip(sorted(weights), places, strict=True)
    ]
    axis.set_xticks(places, names)
    axis.xaxis.set_minor_locator(NullLocator())


def weight_categories(axis: Any, weights: Sequence[float]) -> None:
    """An axis on which the weights stand at equal distances."""
    axis.set_xticks(range(len(weights)), [short_weight(weight) for weight in weights], rotation=55)
    for label in axis.get_xticklabels():
        label.set(horizontalalignment="right", rotation_mode="anchor")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(visible=False, axis="x")
    axis.set_xlim(-0.6, len(weights) - 0.4)


def dataset_legend(
    figure: Figure,
    datasets: Sequence[str],
    models: Sequence[str] = (),
    *,
    further: Sequence[str] = (),
    squares: bool = False,
    columns: int = 6,
) -> None:
    """The datasets' colours and markers below the figure, then the lines of base models and of further series."""
    colours, shapes = dataset_colours(datasets), markers(datasets)
    if squares:
        shapes = dict.fromkeys(datasets, "s")
    handles = [Line2D([], [], color=colours[d], marker=shapes[d], linestyle="none", label=d) for d in datasets]
    if len(models) > 1:
        handles += [
            Line2D([], [], color="#444444", marker="o", markerfacecolor="#444444" if i % 2 == 0 else "white",
                   linestyle=dashes(i), label=f"{model} (c, d)")
            for i, model in enumerate(models)
        ]  # fmt: skip
    handles += [
        Line2D([], [], color="#444444", marker="o", markerfacecolor="white", linestyle=dashes(i + 1), label=label)
        for i, label in enumerate(further)
    ]
    # Names of series are long.
    columns = 3 if further else columns
    lines = -(-len(handles) // columns)
    figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // lines), handletextpad=0.5)


def dashes(index: int) -> Any:
    """Line style of the base model or series at this place, in turn; the first is a whole line."""
    return ("-", (0, (4, 1.6)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))[index % 4]


def short_weight(weight: float) -> str:
    """``.0005`` and ``.25``: the leading zero costs width and says nothing."""
    text = f"{weight:.2g}" if weight >= 1e-4 else f"{weight:g}"
    return text.removeprefix("0") if text.startswith("0.") else text
