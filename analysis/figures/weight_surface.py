"""The response surface over both weights, with the pairs that were trained and where its top may lie."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from analysis.figures.heat_maps import DIVERGING
from analysis.figures.theme import COLUMN_INCHES, PAGE_INCHES, RC, panel_names
from analysis.inference.weight_surface import SURFACE_PLACES, WeightSurface
from analysis.published.wit_grid import CONVENTIONAL

TOPS_SHOWN = 600


def surface_figure(surfaces: list[WeightSurface]) -> Figure:
    """A panel a scope: contours of the points over (0, 1), the top as a star, tops of drawn surfaces as dots."""
    limit = max(float(np.abs(surface.value_M).max()) for surface in surfaces) or 1.0
    levels = np.linspace(-limit, limit, 13)
    with mpl.rc_context(RC | {"axes.grid": False}):
        width = min(PAGE_INCHES, COLUMN_INCHES * len(surfaces))
        figure = Figure(figsize=(width, 2.6), layout="constrained")
        axes = figure.subplots(1, len(surfaces), squeeze=False, sharey=True)[0]
        # The bar of the colours and the labels take the rest.
        titles = panel_names([surface.scope for surface in surfaces], len(surfaces), width - 0.8)
        for axis, surface in zip(axes, surfaces, strict=True):
            drawn = _contours(axis, surface, levels)
            axis.set_title(titles[surface.scope])
        axes[0].set_ylabel("λ_p")
        bar = figure.colorbar(drawn, ax=axes, pad=0.01, fraction=0.04)
        bar.set_ticks(levels[::3].tolist(), labels=[f"{level:.1f}" for level in levels[::3]])
        bar.set_label("points over (0, 1)", fontsize=7)
    return figure


def _contours(axis: Any, surface: WeightSurface, levels: Any) -> Any:
    prompt, response, value = (
        part.reshape(SURFACE_PLACES, SURFACE_PLACES) for part in (*surface.places_M2.T, surface.value_M)
    )
    drawn = axis.contourf(response, prompt, value, levels=levels, cmap=DIVERGING)
    axis.contour(response, prompt, value, levels=levels, colors="black", linewidths=0.3)
    generator = np.random.default_rng(0)
    spread = 0.012 * generator.standard_normal((TOPS_SHOWN, 2))
    tops = surface.tops_Z2[:TOPS_SHOWN] + spread[: len(surface.tops_Z2)]
    axis.plot(tops[:, 1], tops[:, 0], linestyle="none", marker=".", markersize=1.5, color="black", alpha=0.35)
    for (prompt_weight, response_weight), marker in ((surface.top, "*"), (CONVENTIONAL, "o")):
        axis.plot(
            response_weight, prompt_weight, marker, markersize=8 if marker == "*" else 6, markeredgecolor="black",
            markerfacecolor="white" if marker == "*" else "none", markeredgewidth=0.8, clip_on=False,
        )  # fmt: skip
    axis.set_xlabel("λ_r")
    return drawn
