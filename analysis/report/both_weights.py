"""The chapter of a study that varies both weights: what the published WIT grid is asked, asked of one's own runs."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.figures.heat_maps import heat_maps, share_figure
from analysis.published.wit_findings import equal_ratio_scatter, fixed_cell, magnitude_slope
from analysis.published.wit_grid import CONVENTIONAL, WeightGrid, best_fixed_pair, pairs, panels, true_average
from analysis.report.context import Context
from analysis.report.parts import Drawing, Paragraphs, Part
from analysis.scores.frame import VARIANT, tidy_frame
from analysis.tables.published_wit import (
    fixed_pairs_table,
    left_out_table,
    pair_text,
    scatter_table,
    shares_table,
    winners_table,
)
from plw.errors import UserError

CELL_OF_GRID = ["dataset", "model", "prompt_weight", "response_weight"]
POSIX_METRIC = "posix"


def both_weights(context: Context) -> Iterator[Part]:
    """Findings, maps and tables over both weights; nothing of a study with one response weight.

    Raises:
        UserError: the pairs that all panels have do not hold the usual loss (0, 1), or are fewer than three.
    """
    if context.study.scores["response_weight"].nunique() < 2:
        return
    grid, notes = study_grid(context)
    yield Paragraphs(paragraphs=[_summary(grid)], bullets=[*_bullets(grid), *notes])
    yield _map("average", "Gain of the mean of all benchmarks", grid.gain, "percent over (0, 1)")
    for name in grid.benchmarks:
        yield _map(name, name, panels(grid.scores, name), "score, 0 to 100", folded=True)
    sensitivity = sensitivity_panels(context, grid)
    if sensitivity is not None:
        yield _map("posix", "Sensitivity to the prompt (POSIX)", sensitivity, "index, nats a token", lowest=True)
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
    yield left_out_table(grid)
    yield shares_table(grid)
    if _has_equal_ratios(grid):
        yield scatter_table(grid)


def study_grid(context: Context) -> tuple[WeightGrid, list[str]]:
    """The scores of a study (0 to 100, higher is better, means over seeds) by both weights, and what was left out.

    Benchmarks that some panel lacks are left out, then pairs that some panel lacks.

    Raises:
        UserError: no benchmark that every panel has, no usual loss among the pairs, or fewer than three pairs.
    """
    rows = _rows(context)
    means = rows.groupby(["benchmark", *CELL_OF_GRID])["score"].mean().reset_index()
    all_panels = set(means[["dataset", "model"]].itertuples(index=False, name=None))
    names = sorted(set(means["benchmark"]))
    kept = [name for name in names if set(panels(means, name).index) == all_panels]
    if not kept:
        raise UserError("no benchmark has scores of every base model and dataset")
    shared = set.intersection(*(set(pairs(panels(means, name).dropna(axis="columns"))) for name in kept))
    if CONVENTIONAL not in shared or len(shared) < 3:
        raise UserError(
            f"the pairs of weights that every base model, dataset and benchmark has are {len(shared)}; needed are "
            "three or more with (0, 1) among them"
        )
    here = list(zip(means["prompt_weight"], means["response_weight"], strict=True))
    is_shared = np.array([pair in shared for pair in here])
    scores = means[is_shared & means["benchmark"].isin(kept)].reset_index(drop=True)
    notes = [f"Left out, because a panel lacks them: {', '.join(sorted(set(names) - set(kept)))}."] * (kept != names)
    if lost := len(set(here)) - len(shared):
        notes.append(f"{lost} pairs of weights are left out, because a panel lacks a score of theirs.")
    return WeightGrid(scores=scores, benchmarks=tuple(kept), average=true_average(scores, kept)), notes


def _rows(context: Context) -> pd.DataFrame:
    """Headline scores of every response weight, each chosen and scaled as the report's other chapters do."""
    study, same = context.study, context.study.scores
    for name, value in zip(VARIANT, context.frame.variant, strict=True):
        if name != "response_weight" and name in same:
            same = same[same[name] == value]
    parts = [
        tidy_frame(of_weight, study.benchmarks.groups).rows
        for _, of_weight in same.groupby("response_weight")
        if of_weight["headline"].fillna(value=False).astype(bool).any()
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(score=100 * rows["score01"])


def sensitivity_panels(context: Context, grid: WeightGrid) -> pd.DataFrame | None:
    """POSIX of every cell of the grid, laid out as ``panels``; None where some cell lacks it."""
    rows = context.study.scores
    rows = rows[rows["metric"] == POSIX_METRIC]
    if rows.empty:
        return None
    means = rows.groupby(CELL_OF_GRID)["value"].mean().reset_index()
    table = means.pivot(index=["dataset", "model"], columns=["prompt_weight", "response_weight"], values="value")
    table = table.reindex(index=grid.average.index, columns=grid.average.columns)
    return None if table.isna().any(axis=None) else table


def _summary(grid: WeightGrid) -> str:
    fixed = fixed_cell(grid.gain, best_fixed_pair(grid.gain))
    panels_in_all = len(grid.gain)
    return (
        f"{len(pairs(grid.gain))} pairs (λ_p, λ_r) in {panels_in_all} panels, a base model on a dataset. The best pair "
        f"for all, {pair_text((fixed.prompt_weight, fixed.response_weight))}, gains {fixed.mean:.2f} % over the usual "
        f"loss (0, 1) in the mean ({fixed.low:.2f} to {fixed.high:.2f} over other base models and datasets; that it is "
        f"the best of many is not in it) and lies above it in {fixed.wins} of {panels_in_all} panels."
    )


def _bullets(grid: WeightGrid) -> Iterator[str]:
    best = grid.gain.max(axis=1)
    yield (
        f"The best cell of each panel lies {best.mean():.2f} % above the usual loss in the mean and "
        f"{best.median():.2f} % in the median; each is the largest of many numbers, so it is too large on average."
    )
    scatter = equal_ratio_scatter(grid.average) if _has_equal_ratios(grid) else None
    if scatter is not None:
        yield f"Cells of equal ratio scatter by {scatter.mean():.2f} % (relative standard deviation)."
        if grid.gain.index.get_level_values("model").nunique() > 1:
            slope = magnitude_slope(grid.gain)
            yield (
                f"Doubling both weights changes the gain by {slope.slope:.2f} points ({slope.low:.2f} to "
                f"{slope.high:.2f}; p {slope.p:.2f})."
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
