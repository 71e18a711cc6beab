"""All tables and figures of a study that come from its scores alone, with captions that say what they rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.aggregates import figure_1, figure_2
from analysis.figures.benchmarks import BENCHMARK_FIGURES, figure_benchmarks, figure_gains
from analysis.figures.contours import CONTOURS, contour_figures
from analysis.figures.residuals import figure_residuals
from analysis.inference.bootstrap import BOOTSTRAP_DRAWS, UNITS, bootstrap
from analysis.inference.leave_one_out import leave_one_out
from analysis.inference.ratio_model import RatioFit, optima_by_ratio
from analysis.inference.regression import Regression
from analysis.inference.residuals import ResidualChecks
from analysis.inference.seeds import seed_components
from analysis.inference.sensitivity import sensitivity
from analysis.levels import CONFIDENCE
from analysis.scores.aggregates import GROUPINGS, aggregates, grouped_aggregates
from analysis.scores.benchmark_curves import benchmark_curves
from analysis.scores.frame import TidyFrame
from analysis.scores.mechanism import of_variant
from analysis.tables.beyond_paper import (
    curves_table,
    differences_table,
    gains_table,
    groups_table,
    intervals_table,
    leave_one_out_table,
    seeds_table,
)
from analysis.tables.captions import count, coverage, seed_text
from analysis.tables.checks import residual_table, sensitivity_table
from analysis.tables.paper import results_table, stage_table, table_1, table_2, table_3
from analysis.tables.ratio_model import table_4
from analysis.tables.table import Table
from plw.registry.rows import StageRow

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
}
"""Figure -> its title; the captions follow it."""

ALTS = {
    "figure1_aggregates": "Four panels of aggregate scores against the transformed prompt weight, a colour a dataset.",
    "figure2_mechanism": "Four panels of box plots by prompt weight, a colour a dataset.",
    "figure4_multiple_choice": "A panel for each multiple-choice benchmark: score by prompt weight.",
    "figure5_short_generation": "A panel for each short generation and translation: score by prompt weight.",
    "figure6_long_generation": "A panel for each long generation: win rate by prompt weight, a colour a dataset.",
    **dict.fromkeys(
        CONTOURS,
        "A contour map of the predicted score: prompt weight across, generation ratio up, the best weight a line.",
    ),
    "figure_gains": "A column of panels for each dataset: gain of each weight over PLW 0 with its interval.",
    "figure_residuals": "A row for each dataset: quantiles of the residuals, and residuals by fitted value.",
}
"""Figure -> what it shows, for those who cannot see it."""


def paper_tables(
    *,
    frame: TidyFrame,
    fits: Sequence[Regression],
    statistics: pd.DataFrame,
    stages: Sequence[StageRow],
    groups: Mapping[str, str],
    benchmark_info: Mapping[str, Mapping[str, Any]],
    scale: str,
    intervals: pd.DataFrame,
    ratio: Sequence[RatioFit] = (),
    checks: Mapping[str, ResidualChecks] | None = None,
) -> list[Table]:
    """Tables 1 to 4 and those beyond the paper.

    Args:
        frame: the tidy frame.
        intervals: from ``every_interval``.
        ratio: from ``ratio_fits``; without datasets of three ratios there is no Table 4.
        checks: dataset -> the residual checks of its regression.
        fits: from ``regressions``.
        statistics: from ``read_table_1``; may be empty, and then there is no Table 1.
        stages: of the study, for the table of times.
        groups: benchmark -> group.
        benchmark_info: benchmark -> ``task``, ``shots`` and ``metric``.
        scale: name of the study's scale.
    """
    of_cells = [
        results_table(aggregates(frame)),
        intervals_table(intervals),
        gains_table(intervals),
        leave_one_out_table(leave_one_out(frame)),
        seeds_table(seed_components(frame)),
    ]
    of_scores = [
        table_3(fits),
        sensitivity_table(sensitivity(frame.rows)),
        *([residual_table(checks)] if checks else []),
        *([table_4(ratio)] if any(item.fit for item in ratio) else []),
        groups_table(grouped_aggregates(frame)),
        curves_table(benchmark_curves(frame)),
        differences_table(statistics, fits, scale, optima_by_ratio(ratio)),
        table_2(frame, groups, benchmark_info),
    ]
    whole, each = coverage(frame, whole_cells=True), coverage(frame)
    made = [ending(table, whole) for table in of_cells if table is not None]
    made += [ending(table, each) for table in of_scores]
    if len(statistics):
        lacking = sorted(set(frame.rows["dataset"]) - set(statistics["dataset"]))
        words = f"Missing: {', '.join(lacking) or 'nothing'}."
        made.append(ending(table_1(statistics), f"n = {count(len(statistics), 'dataset')}. {words}"))
    return [*made, stage_table(stages)]


def every_interval(frame: TidyFrame) -> pd.DataFrame:
    """``bootstrap`` by every unit."""
    return pd.concat([bootstrap(frame, unit=unit) for unit in UNITS], ignore_index=True)


def paper_figures(
    *,
    frame: TidyFrame,
    scores: pd.DataFrame,
    intervals: pd.DataFrame,
    ratio: Sequence[RatioFit] = (),
    checks: Mapping[str, ResidualChecks] | None = None,
) -> dict[str, tuple[Figure, str]]:
    """Figures 1 to 9, the gains, and the residual checks where there are some: key -> figure and caption.

    Figures that have nothing to show are left out.

    Args:
        frame: the tidy frame.
        scores: every score of the study, for the mechanism.
        intervals: from ``every_interval``.
        ratio: from ``ratio_fits``.
        checks: dataset -> the residual checks of its regression.
    """
    curves, whole = benchmark_curves(frame), coverage(frame, whole_cells=True)
    drawn: dict[str, tuple[Figure | None, str]] = {
        "figure1_aggregates": (figure_1(frame, aggregates(frame)), f"{_AGGREGATES} {whole}"),
        "figure2_mechanism": (figure_2(scores, frame), f"{_MECHANISM} {_seeds_and_cells(of_variant(scores, frame))}"),
    }
    for key, grouping in BENCHMARK_FIGURES.items():
        part = frame.of_groups(GROUPINGS[grouping])
        figure = figure_benchmarks(curves, grouping)
        drawn[key] = (figure, f"{_BENCHMARKS} {coverage(part)}" if figure else "")
    drawn |= contour_figures(ratio)
    drawn["figure_gains"] = (figure_gains(intervals[intervals["unit"] == UNITS[0]]), f"{_GAINS} {whole}")
    residuals = {name: (found.residual_N, found.fitted_N) for name, found in (checks or {}).items()}
    drawn["figure_residuals"] = (figure_residuals(residuals), f"{_RESIDUALS} {coverage(frame)}")
    return {key: (figure, caption) for key, (figure, caption) in drawn.items() if figure is not None}


def ending(table: Table, words: str) -> Table:
    """The table with words after its caption."""
    return replace(table, caption=f"{table.caption} {words}")


def _seeds_and_cells(scores: pd.DataFrame) -> str:
    """The n and seeds of the mechanism, whose cells may be others than those with every benchmark."""
    cells = scores[["dataset", "model", "prompt_weight", "response_weight", "seed"]].drop_duplicates()
    return f"n = {count(len(cells), 'cell')}; {seed_text(cells['seed'])}."


_AGGREGATES = (
    "Left the simple, right the relative aggregate; above the mean over base models and seeds with standard errors "
    "over benchmarks and models, below each base model. Lines are least-squares parabolas through the points shown, a "
    "guide to the eye and not the regression of Table 3. Above, the datasets' points stand slightly apart."
)
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
    f"{CONFIDENCE:.0%} percentile bootstrap interval, {BOOTSTRAP_DRAWS} draws of {UNITS[0]}. Weights are spaced as w_p."
)
_RESIDUALS = (
    "Uniform quantile residuals of the regression of Table 3. Left: their quantiles against those of the uniform "
    "distribution, with the band that holds the whole curve of 95% of well-fitting models. Right: residuals by rank "
    "of the fitted value, with their quartiles in equal shares of the rows; those of a well-fitting model lie on "
    "0.25, 0.5 and 0.75."
)
