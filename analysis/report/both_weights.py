"""The chapter of a study that varies both weights: what the published WIT grid is asked, asked of one's own runs."""

from collections.abc import Iterator

import pandas as pd

from analysis.figures.heat_maps import heat_maps, share_figure
from analysis.published.wit_findings import equal_ratio_scatter, fixed_cell, magnitude_slope
from analysis.published.wit_grid import WeightGrid, best_fixed_pair, pairs, panels
from analysis.report.context import Context
from analysis.report.parts import Drawing, Paragraphs, Part
from analysis.report.study_grid import CELL_OF_GRID, same_loss_scores
from analysis.report.weight_grid_parts import ANALYSIS_PARTS, attempted
from analysis.tables.published_wit import (
    fixed_pairs_table,
    left_out_table,
    pair_text,
    scatter_table,
    shares_table,
    winners_table,
)
from analysis.tables.table import interval_text
from plw.progress import count

POSIX_METRIC = "posix"
SHOWN_AS_NONE = 0.005
"""Percent below which a scatter is shown as 0."""


def both_weights(context: Context) -> Iterator[Part]:
    """Findings, maps and tables over both weights; nothing of a study with one response weight.

    Raises:
        UserError: the pairs that all panels have do not hold the usual loss (0, 1), or are fewer than three.
    """
    if not context.varies_both:
        return
    study, notes = context.both_weights
    grid = study.grid
    yield Paragraphs(paragraphs=[_summary(grid)], bullets=[*_bullets(grid), *notes])
    yield _map("average", "Gain of the mean of all benchmarks", grid.gain, "percent over (0, 1)")
    for name in grid.benchmarks:
        yield _map(name, name, panels(grid.scores, name), "score, 0 to 100", folded=True)
    sensitivity, lacking = sensitivity_panels(context, grid)
    if sensitivity is not None:
        yield _map("posix", "Sensitivity to the prompt (POSIX)", sensitivity, "index, nats a token", lowest=True)
    elif lacking:
        yield Paragraphs(
            bullets=[
                f"No map of the sensitivity to the prompt (POSIX): {lacking} of {grid.average.size} cells lack it."
            ]
        )
    if grid.average.index.get_level_values("model").nunique() > 1:
        yield Drawing(
            key="both_weights_share",
            title="Gain by the prompt's share of the weight",
            caption="Thin: a base model, the mean of its cells of equal ratio. Thick: mean of the base models with a "
            "95 % interval (t).",
            alt="Gain over the usual loss by the prompt's share, one plot for each dataset",
            figure=share_figure(grid.gain),
        )
    yield winners_table(grid)
    yield fixed_pairs_table(grid)
    yield from attempted((lambda found: iter([left_out_table(found.grid)]),), study)
    yield shares_table(grid)
    if _has_equal_ratios(grid):
        yield scatter_table(grid)
    yield from attempted(ANALYSIS_PARTS, study)


def sensitivity_panels(context: Context, grid: WeightGrid) -> tuple[pd.DataFrame | None, int]:
    """POSIX of every cell of the grid, laid out as ``panels``, and how many cells lack it.

    No table where some cell lacks it; and none lacks it where it was not asked for.
    """
    rows = same_loss_scores(context.study, context.frame)
    rows = rows[rows["metric"] == POSIX_METRIC]
    if rows.empty:
        return None, 0
    means = rows.groupby(CELL_OF_GRID)["value"].mean().reset_index()
    table = means.pivot(index=["dataset", "model"], columns=["prompt_weight", "response_weight"], values="value")
    table = table.reindex(index=grid.average.index, columns=grid.average.columns)
    lacking = int(table.isna().to_numpy().sum())
    return (None if lacking else table), lacking


def _summary(grid: WeightGrid) -> str:
    fixed = fixed_cell(grid.gain, best_fixed_pair(grid.gain))
    in_all = count(len(grid.gain), "panel")
    interval = (
        "so few base models and datasets give no interval over others"
        if pd.isna(fixed.low)
        else f"{interval_text(fixed.low, fixed.high)} over other base models and datasets"
    )
    return (
        f"{len(pairs(grid.gain))} pairs (λ_p, λ_r) in {in_all}, a base model on a dataset. The best pair "
        f"for all, {pair_text((fixed.prompt_weight, fixed.response_weight))}, gains {fixed.mean:z.2f} % over the usual "
        f"loss (0, 1) in the mean ({interval}; that it is "
        f"the best of many is not in it) and lies above it in {fixed.wins} of {in_all}."
    )


def _bullets(grid: WeightGrid) -> Iterator[str]:
    best = grid.gain.max(axis=1)
    yield (
        f"The best cell of each panel lies {best.mean():.2f} % above the usual loss in the mean and "
        f"{best.median():.2f} % in the median; each is the largest of many numbers, so it is too large on average."
    )
    scatter = equal_ratio_scatter(grid.average) if _has_equal_ratios(grid) else None
    if scatter is not None:
        same = scatter.max() < SHOWN_AS_NONE
        said = " They are one training to the digit here, which tells nothing of chance." if same else ""
        yield f"Cells of equal ratio scatter by {scatter.mean():.2f} % (relative standard deviation).{said}"
        if not same and grid.gain.index.get_level_values("model").nunique() > 1:
            slope = magnitude_slope(grid.gain)
            yield (
                f"Doubling both weights changes the gain by {slope.slope:z.2f} points ({slope.low:z.2f} to "
                f"{slope.high:z.2f}; p {slope.p:.2f})."
            )


def _has_equal_ratios(grid: WeightGrid) -> bool:
    shares = {round(prompt / (prompt + response), 6) for prompt, response in pairs(grid.average)}
    return len(shares) < len(pairs(grid.average))


def _map(
    key: str, title: str, values: pd.DataFrame, unit: str, *, folded: bool = False, lowest: bool = False
) -> Drawing:
    return Drawing(
        key=f"both_weights_map_{key}",
        title=title,
        caption=f"Star: the {'lowest' if lowest else 'highest'} cell; ring: the usual loss (0, 1).",
        alt=f"{title}: a map over prompt and response weight for each base model and dataset",
        figure=heat_maps(values, unit=unit, diverging=unit.startswith("percent"), lower_is_better=lowest),
        folded=folded,
    )
