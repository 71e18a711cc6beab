"""Parts that several figures share: the axis of weights, the legend of datasets."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.figures.theme import PAGE_INCHES, dataset_colours, markers, short_names
from analysis.scores.frame import weight_scale

NEAR = 0.09
"""Weights that lie closer than this on the w_p axis do not both get a label in a small panel."""
NEAR_ABOVE = 0.04
"""The same of an axis above a panel of half a page, whose labels are aslant."""
LEVEL_LETTERS = 2
"""Characters of a weight's label up to which it has room in a small panel without being turned."""
MAX_CATEGORIES = 24
"""Labels of weights at equal distances that a panel of half a page has room for."""
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.6)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
STYLES = 2 * len(DASHES)
"""Base models that are told apart by their lines and marks; those of more repeat."""
LEGEND_NAME = 40
"""Characters of a name in a legend at most."""
LETTER_INCHES, HANDLE_INCHES = 0.06, 0.6
"""Widths in a legend: of a letter, and of an entry beside its letters."""


def weight_axis_above(axis: Any, weights: Sequence[float]) -> None:
    """A second axis above that tells the weights themselves."""
    top = axis.secondary_xaxis("top")
    top.set_xticks(*_labelled(weights, NEAR_ABOVE), rotation=55)
    for label in top.get_xticklabels():
        label.set(horizontalalignment="left", rotation_mode="anchor", fontsize=6.5)
    top.tick_params(length=2, pad=2)
    top.spines["top"].set_visible(False)
    top.set_xlabel("prompt loss weight (PLW)", labelpad=2)


def weight_ticks(axis: Any, weights: Sequence[float]) -> None:
    """Ticks of a w_p axis at the weights, labelled with them where there is room; the largest and smallest always."""
    places, names = _labelled(weights, NEAR)
    axis.set_xticks(places, names)
    axis.tick_params(axis="x", rotation=90 if max(map(len, names)) > LEVEL_LETTERS else 0)
    axis.xaxis.set_minor_locator(NullLocator())


def _labelled(weights: Sequence[float], near: float) -> tuple[list[float], list[str]]:
    """Every weight's place on the w_p axis, and its label or, where there is no room, nothing."""
    places = weight_scale(pd.Series(sorted(weights))).to_list()
    labelled: list[float] = []
    for place in reversed(places):
        room = not labelled or labelled[-1] - place >= near
        if room and (place == places[0] or place - places[0] >= near):
            labelled.append(place)
    names = [
        name if place in labelled else "" for name, place in zip(short_weights(sorted(weights)), places, strict=True)
    ]
    return places, names


def weight_categories(axis: Any, weights: Sequence[float]) -> None:
    """An axis on which the weights stand at equal distances, labelled from the largest on as far as there is room."""
    every = -(-len(weights) // MAX_CATEGORIES)
    names = [
        name if (len(weights) - 1 - place) % every == 0 else "" for place, name in enumerate(short_weights(weights))
    ]
    axis.set_xticks(range(len(weights)), names, rotation=55)
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
    named = short_names(datasets, LEGEND_NAME)
    handles = [Line2D([], [], color=colours[d], marker=shapes[d], linestyle="none", label=named[d]) for d in datasets]
    if len(models) > 1:
        handles += [
            Line2D([], [], color="#444444", marker="o", markerfacecolor="white" if is_hollow(i) else "#444444",
                   linestyle=dashes(i), label=f"{model} (c, d)")
            for i, model in enumerate(short_names(models, LEGEND_NAME).values())
        ]  # fmt: skip
    handles += [
        Line2D([], [], color="#444444", marker="o", markerfacecolor="white", linestyle=dashes(i + 1), label=label)
        for i, label in enumerate(further)
    ]
    widest = max(len(str(handle.get_label())) for handle in handles) * LETTER_INCHES + HANDLE_INCHES
    # Names of series are long.
    columns = max(1, min(3 if further else columns, int(PAGE_INCHES / widest)))
    lines = -(-len(handles) // columns)
    # As long as the dashes need to be told from each other.
    length = 3.6 if len(handles) > len(datasets) else 2.0
    columns = -(-len(handles) // lines)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handletextpad=0.5, handlelength=length)


def dashes(index: int) -> Any:
    """Line style of the base model or series at this place, in turn; the first is a whole line."""
    return DASHES[index % len(DASHES)]


def is_hollow(index: int) -> bool:
    """Whether the base model at this place has hollow marks: with ``dashes`` it tells eight apart."""
    return index % 2 != index // len(DASHES) % 2


def short_weights(weights: Sequence[float]) -> list[str]:
    """``.0005`` and ``.25``, with as many digits as tell them apart: the leading zero costs width and says nothing."""
    for digits in range(2, 7):
        names = [_short_weight(weight, digits) for weight in weights]
        if len(set(names)) == len(set(weights)):
            break
    return names


def _short_weight(weight: float, digits: int) -> str:
    text = f"{weight:.{digits}g}" if weight >= 1e-4 else f"{weight:g}"
    return text.removeprefix("0") if text.startswith("0.") else text
