"""The tables and figures that a report can show, by key: how each is made of the report's context, and its caption.

A maker gives None where there is nothing to show.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.aggregates import figure_1, figure_2
from analysis.figures.axes import STYLES
from analysis.figures.benchmarks import BENCHMARK_FIGURES, figure_benchmarks, figure_gains
from analysis.figures.contours import CONTOURS, contour_caption, contour_figure
from analysis.figures.forest import figure_forest
from analysis.figures.residuals import figure_residuals
from analysis.inference.bootstrap import BOOTSTRAP_DRAWS, UNITS
from analysis.inference.ratio_model import optima_by_ratio
from analysis.levels import CONFIDENCE
from analysis.report.context import Context
from analysis.report.study_grid import same_loss_scores
from analysis.scores.aggregates import GROUPINGS
from analysis.scores.mechanism import of_variant
from analysis.tables.ablation import ablation_table
from analysis.tables.beyond_paper import (
    curves_table,
    differences_table,
    gains_table,
    groups_table,
    intervals_table,
    leave_one_out_table,
    others_table,
    seeds_table,
)
from analysis.tables.captions import coverage, seed_text
from analysis.tables.checks import residual_table, sensitivity_table
from analysis.tables.paired import EACH_WEIGHT, comparisons_table, noise_table
from analysis.tables.paper import results_table, stage_table, table_1, table_2, table_3
from analysis.tables.preferences import preferences_table
from analysis.tables.ratio_model import table_4
from analysis.tables.table import Table
from plw.progress import count

Captioned = tuple[Figure, str]
"""A figure and its caption."""

TITLES = {
    "figure1_aggregates": "Figure 1. Aggregates against the prompt weight",
    "figure2_mechanism": "Figure 2. The mechanism",
    "figure4_multiple_choice": "Figure 4. Multiple choice by prompt weight",
    "figure5_short_generation": "Figure 5. Short generation and translation by prompt weight",
    "figure6_long_generation": "Figure 6. Long generation by prompt weight",
    "figure3_ratio_contour": "Figure 3. Score by prompt weight and generation ratio",
    "figure7_contour_all": "Figure 7. The ratio model of all benchmarks",
    "figure8_contour_multiple_choice": "Figure 8. The ratio model of multiple choice",
    "figure9_contour_generation": "Figure 9. The ratio model of generation without translation",
    "figure_gains": "Gain over PLW 0",
    "figure_residuals": "Residual checks of the regression",
    "figure_forest": EACH_WEIGHT,
}
"""Figure -> its title; the captions follow it."""

ALTS = {
    "figure1_aggregates": "Four panels of aggregate scores against the transformed prompt weight, a colour a dataset.",
    "figure2_mechanism": "Four panels of box plots by prompt weight, a colour a dataset.",
    "figure4_multiple_choice": "A panel for each multiple-choice benchmark: score by prompt weight, a line a dataset.",
    "figure5_short_generation": "A panel for each benchmark of short generation or translation: score by weight.",
    "figure6_long_generation": "A panel for each benchmark of long generation: score by weight, a line a dataset.",
    **dict.fromkeys(
        CONTOURS,
        "A contour map of the predicted score: prompt weight across, generation ratio up, the best weight a line.",
    ),
    "figure_gains": "A column of panels for each dataset: gain of each weight over PLW 0 with its interval.",
    "figure_forest": "A column of panels for each dataset: every benchmark's difference from the smallest weight.",
    "figure_residuals": "A row for each dataset: quantiles of the residuals, and residuals by fitted value.",
}
"""Figure -> what it shows, for those who cannot see it."""


def make_table(context: Context, key: str) -> Table | None:
    """The table of a key with what it rests on after its caption, or None where there is nothing to show."""
    table = TABLES[key](context)
    if table is None or key in WITHOUT_ENDING:
        return table
    if key == "table1_datasets":
        return ending(table, _datasets_ending(context))
    return ending(table, coverage(context.frame, whole_cells=key in OF_CELLS))


def make_figure(context: Context, key: str) -> Captioned | None:
    """The figure of a key and its caption, or None where there is nothing to show."""
    return FIGURES[key](context)


def ending(table: Table, words: str) -> Table:
    """The table with further words at the end of its caption."""
    return replace(table, caption=f"{table.caption} {words}")


def _datasets_ending(context: Context) -> str:
    statistics = context.statistics
    lacking = sorted(set(context.frame.rows["dataset"]) - set(statistics["dataset"]))
    return f"n = {count(len(statistics), 'dataset')}. Missing: {', '.join(lacking) or 'nothing'}."


def _results(context: Context) -> Table | None:
    return results_table(context.aggregates, _further_aggregates(context)) if len(context.aggregates) else None


def _table_1(context: Context) -> Table | None:
    return table_1(context.statistics) if len(context.statistics) else None


def _table_3(context: Context) -> Table | None:
    return table_3(context.fits) if any(fit.w is not None for fit in context.fits) else None


def _sensitivity(context: Context) -> Table | None:
    return sensitivity_table(context.sensitivity) if context.sensitivity["random_part"].notna().any() else None


def _intervals(context: Context) -> Table | None:
    return intervals_table(context.intervals) if context.intervals["low"].notna().any() else None


def _leave_one_out(context: Context) -> Table | None:
    return leave_one_out_table(context.choice) if "best_weight" in context.choice else None


def _seeds(context: Context) -> Table | None:
    several = context.frame.rows["prompt_weight"].nunique() > 1
    return seeds_table(context.seeds) if several and len(context.seeds) else None


def _table_4(context: Context) -> Table | None:
    return table_4(context.ratio) if any(item.fit for item in context.ratio) else None


def _residual_table(context: Context) -> Table | None:
    return residual_table(context.checks) if context.checks else None


def _ablation(context: Context) -> Table | None:
    scores = context.study.scores
    several = "recipe" in scores and scores.loc[scores["headline"].astype(bool), "recipe"].nunique() > 1
    return ablation_table(scores, context.groups) if several else None


def _others(context: Context) -> Table | None:
    return others_table(context.study.choice.others) if context.study.choice.others else None


def _differences(context: Context) -> Table | None:
    optima = optima_by_ratio(context.ratio)
    table = differences_table(context.statistics, context.fits, context.study.scale, optima)
    return table if len(table.raw) else None


def _comparisons(context: Context) -> Table | None:
    found = context.comparisons
    return comparisons_table(found.rows, found.left_out) if found.rows else None


def _further_aggregates(context: Context) -> dict[str, pd.DataFrame]:
    return {series.label: series.aggregates for series in context.study.further}


def _further_curves(context: Context) -> dict[str, pd.DataFrame]:
    return {series.label: series.curves for series in context.study.further}


TABLES: Mapping[str, Callable[[Context], Table | None]] = {
    "results": _results,
    "intervals": _intervals,
    "gains": lambda context: gains_table(context.intervals),
    "selection": _leave_one_out,
    "seeds": _seeds,
    "table1_datasets": _table_1,
    "table2_benchmarks": lambda context: table_2(context.frame, context.groups, context.study.benchmarks.info),
    "table3_regression": _table_3,
    "table4_optima": _table_4,
    "sensitivity": _sensitivity,
    "residuals": _residual_table,
    "groups": lambda context: groups_table(context.grouped),
    "benchmarks": lambda context: curves_table(context.curves, _further_curves(context)),
    "differences": _differences,
    "ablation": _ablation,
    "comparisons": _comparisons,
    "noise": lambda context: noise_table(context.noise) if len(context.noise) else None,
    "preferences": lambda context: preferences_table(same_loss_scores(context.study, context.frame)),
    "others": _others,
    "stage_times": lambda context: stage_table(context.study.stages),
}
"""Key, which is the stem of the files too -> the table."""

OF_CELLS = frozenset({"results", "intervals", "gains", "selection", "seeds"})
"""Tables of aggregates, in which only cells with every benchmark count."""

WITHOUT_ENDING = frozenset({"comparisons", "noise", "ablation", "preferences", "others", "stage_times"})
"""Tables that do not rest on the frame's scores."""


def _figure_1(context: Context) -> Captioned | None:
    further = _further_aggregates(context)
    drawn = figure_1(context.cells, context.aggregates, further)
    if drawn is None:
        return None
    repeated = _REPEATED * (context.cells["model"].nunique() > STYLES)
    return drawn, f"{_AGGREGATES}{repeated}{_SERIES * bool(further)}{coverage(context.frame, whole_cells=True)}"


def _figure_2(context: Context) -> Captioned | None:
    shown = of_variant(context.study.scores, context.frame)
    drawn = figure_2(shown)
    cells = shown[["dataset", "model", "prompt_weight", "response_weight", "seed"]].drop_duplicates()
    if drawn is None:
        return None
    return drawn, f"{_MECHANISM} n = {count(len(cells), 'cell')}; {seed_text(cells['seed'])}."


def _of_benchmarks(grouping: str) -> Callable[[Context], Captioned | None]:
    def maker(context: Context) -> Captioned | None:
        further = _further_curves(context)
        drawn = figure_benchmarks(context.curves, grouping, further)
        if drawn is None:
            return None
        return drawn, f"{_BENCHMARKS} {_SERIES * bool(further)}{coverage(context.frame.of_groups(GROUPINGS[grouping]))}"

    return maker


def _contour(aggregate: str) -> Callable[[Context], Captioned | None]:
    def maker(context: Context) -> Captioned | None:
        fitted = [item for item in context.ratio if item.aggregate == aggregate and item.fit is not None]
        return (contour_figure(fitted[0]), contour_caption(fitted[0])) if fitted else None

    return maker


def _gains(context: Context) -> Captioned | None:
    drawn = figure_gains(context.intervals[context.intervals["unit"] == UNITS[0]])
    return None if drawn is None else (drawn, f"{_GAINS} {coverage(context.frame, whole_cells=True)}")


def _residuals(context: Context) -> Captioned | None:
    drawn = figure_residuals(context.checks)
    return None if drawn is None else (drawn, f"{_RESIDUALS} {coverage(context.frame)}")


def _forest(context: Context) -> Captioned | None:
    drawn = figure_forest(context.comparisons.rows)
    return None if drawn is None else (drawn, _FOREST)


FIGURES: Mapping[str, Callable[[Context], Captioned | None]] = {
    "figure1_aggregates": _figure_1,
    "figure2_mechanism": _figure_2,
    **{key: _of_benchmarks(grouping) for key, grouping in BENCHMARK_FIGURES.items()},
    **{key: _contour(aggregate) for key, aggregate in CONTOURS.items()},
    "figure_gains": _gains,
    "figure_residuals": _residuals,
    "figure_forest": _forest,
}
"""Key, which is the stem of the files too -> the figure and its caption."""

_AGGREGATES = (
    "Left the simple, right the relative aggregate; above the mean over base models and seeds with standard errors "
    "over benchmarks and models, below each base model, of several seeds the mean with its standard error over seeds "
    "and each seed as a faint dot. Lines are least-squares parabolas through the marks, of fewer than four weights "
    "straight from mark to mark: a guide to the eye and not the regression of Table 3. Marks of one weight may stand "
    "slightly apart. "
)
_REPEATED = f"With more than {STYLES} base models their lines and marks repeat. "
_SERIES = "Broken lines and hollow points are other suites, recipes and judges, each by its own scores. "
_MECHANISM = (
    "By prompt weight: relative standard deviation of the training loss in windows of consecutive steps, mean over "
    "the run; distance of the trained weights from the base model's; corpus BLEU of answers to training prompts; mean "
    "length of the answers to the AlpacaEval prompts. Boxes are over base models and seeds, whiskers end at the "
    "quantiles 0.09 and 0.91, dots are cells, thin lines join the medians."
)
_BENCHMARKS = (
    "Mean score over base models and seeds of each benchmark; bars are 95% intervals from the benchmark's standard "
    "errors over documents (none where a score has no standard error). Weights are spaced as w_p = PLW ** 0.30103, "
    "the datasets' points stand slightly apart."
)
_GAINS = (
    "Mean difference from PLW 0 on the same benchmark, base model and seed, in both aggregates. Bands are the "
    f"{CONFIDENCE:.0%} percentile bootstrap interval, {BOOTSTRAP_DRAWS} draws of {UNITS[0]}. Weights are spaced as "
    "w_p. The bands hold how far benchmarks and base models lie apart; what chance in a training does to all "
    "benchmarks alike is in them only where there are several base models."
)
_FOREST = (
    "Difference from the smallest weight on the items that the paired cells answered, with its 95 % interval, "
    "uncorrected. Strong and filled: shown after Holm's correction for all weights and benchmarks of the dataset. Each "
    "row of panels has a scale of its own; the grey band is the same in all."
)
_RESIDUALS = (
    "Uniform quantile residuals of the regression of Table 3. Left: their quantiles against those of the uniform "
    "distribution, with the band that holds 95% of the simulated studies at each point, and the p of the table of "
    "checks. Right: residuals by rank of the fitted value, from 20 rows on with their quartiles in equal shares of the "
    "ranks; those of a well-fitting model lie on 0.25, 0.5 and 0.75."
)
