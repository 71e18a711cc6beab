"""The picture of a dataset's lengths: prompts beside completions, and whole examples against the maximum length."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.theme import BLUE, PAGE_INCHES, RC, VERMILLION


def length_figure(
    prompt_E: NDArray[np.int64], completion_E: NDArray[np.int64], example_E: NDArray[np.int64], max_length: int
) -> Figure:
    """Two panels: histograms of prompt and completion lengths, and the share of examples up to each length.

    Args:
        prompt_E: tokens of instruction and input, template excluded.
        completion_E: tokens of the completions.
        example_E: tokens of whole examples, template included, before anything is cut.
        max_length: tokens that an example keeps in training.
    """
    with mpl.rc_context(RC):
        figure = Figure(figsize=(PAGE_INCHES, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        _histograms(left, prompt_E, completion_E)
        _cumulative(right, example_E, max_length)
    return figure


def _histograms(axis: Axes, prompt_E: NDArray[np.int64], completion_E: NDArray[np.int64]) -> None:
    longest = max(int(prompt_E.max()), int(completion_E.max()), 2)
    # Lengths are whole numbers: an edge on a half keeps each in one bin, also where bins are narrower than 1.
    edges_N = np.unique(np.round(np.geomspace(1, longest + 1, 46))) - 0.5
    for length_E, name, colour in ((prompt_E, "instruction + input", BLUE), (completion_E, "completion", VERMILLION)):
        share_N = 100 * np.histogram(np.maximum(length_E, 1), edges_N)[0] / len(length_E)
        axis.stairs(share_N, edges_N, color=colour, fill=True, alpha=0.25)
        axis.stairs(share_N, edges_N, color=colour, label=f"{name}, mean {length_E.mean():,.1f}")
        axis.axvline(max(float(length_E.mean()), 0.5), ymax=0.8, color=colour, linestyle=":", linewidth=0.9)
    axis.set_xscale("log")
    # The labels of a narrow axis' minor ticks would be mathematics, which is not drawn (see the theme).
    axis.xaxis.set_minor_formatter(mpl.ticker.LogFormatter())
    axis.set_xlim(edges_N[0], edges_N[-1])
    axis.set_ylim(0, 1.22 * axis.get_ylim()[1])
    axis.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axis.set_xlabel("tokens of the field alone")
    axis.set_ylabel("records in a bin (%)")
    axis.set_title("a  Prompts and completions")
    axis.legend(loc="upper left")


def _cumulative(axis: Axes, example_E: NDArray[np.int64], max_length: int) -> None:
    length_N = np.sort(example_E)
    share_N = 100 * np.arange(1, len(length_N) + 1) / len(length_N)
    cut = 100 * float(np.mean(example_E > max_length))
    axis.step(np.append(length_N[0], length_N), np.append(0.0, share_N), where="post", color="#000000")
    axis.axvline(max_length, color=VERMILLION, linestyle="--", linewidth=0.9)
    # Beside the line, on the side with more room.
    room = max_length < 0.55 * length_N[-1]
    axis.annotate(
        f"maximum\nlength {max_length:,}:\n{cut:.1f}% longer",
        (max_length, 6),
        xytext=(5 if room else -5, 0),
        textcoords="offset points",
        ha="left" if room else "right",
        color=VERMILLION,
        fontsize=7,
    )
    axis.set_xlim(0, 1.04 * max(float(length_N[-1]), max_length))
    axis.set_ylim(0, 104)
    axis.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axis.set_xlabel("tokens of the whole example, with its template")
    axis.set_ylabel("examples up to that length (%)")
    axis.set_title("b  Whole examples")
