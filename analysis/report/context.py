"""What a report is made from: everything that is read or computed of a study, once; the parts only read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from analysis.inference.bootstrap import UNITS, bootstrap_aggregates
from analysis.inference.leave_one_out import leave_one_out
from analysis.inference.noise import noise_floor
from analysis.inference.paired_weights import WeightComparisons, weight_comparisons
from analysis.inference.ratio_model import RatioFit, ratio_fits
from analysis.inference.regression import Regression, regressions
from analysis.inference.residuals import ResidualChecks, residual_checks
from analysis.inference.seeds import seed_components
from analysis.inference.sensitivity import sensitivity
from analysis.inference.verdicts import ScopeVerdict, scope_verdicts
from analysis.report.study_data import StudyData, study_data
from analysis.report.study_grid import GridStudy, grid_study
from analysis.scores.aggregates import aggregates, cell_aggregates, grouped_aggregates
from analysis.scores.benchmark_curves import benchmark_curves
from analysis.scores.frame import TidyFrame
from analysis.scores.sample import MODEL_ROWS, fitted_rows, verdict_rows
from analysis.scores.study import Study
from analysis.scores.training_records import read_table_1


@dataclass(frozen=True, kw_only=True)
class Context:
    """A study, and all numbers that its tables, figures and sentences show."""

    study: Study
    frame: TidyFrame
    generations: int | None
    """Prompts of each benchmark that the page shows at most; None is as many as fit."""
    axes: StudyData
    """The names and places that all widgets share."""
    cells: pd.DataFrame
    """From ``cell_aggregates``."""
    aggregates: pd.DataFrame
    """From ``aggregates``."""
    grouped: pd.DataFrame
    """From ``grouped_aggregates``."""
    curves: pd.DataFrame
    """From ``benchmark_curves``."""
    intervals: pd.DataFrame
    """From ``bootstrap_aggregates``, by every unit."""
    choice: pd.DataFrame
    """From ``leave_one_out``."""
    seeds: pd.DataFrame
    """From ``seed_components``."""
    verdicts: Sequence[ScopeVerdict]
    """From ``scope_verdicts``."""
    comparisons: WeightComparisons
    """From ``weight_comparisons``."""
    noise: pd.DataFrame
    """From ``noise_floor``."""
    fits: Sequence[Regression]
    """From ``regressions``."""
    checks: Mapping[str, ResidualChecks]
    """Dataset -> the residual checks of its regression, where it converged."""
    sensitivity: pd.DataFrame
    """From ``sensitivity``."""
    ratio: Sequence[RatioFit]
    """From ``ratio_fits``."""
    statistics: pd.DataFrame
    """Of the datasets, from ``read_table_1``; may be empty."""
    problems: Sequence[str]
    """One line for each file that could not be read."""

    @property
    def groups(self) -> Mapping[str, str]:
        """Benchmark -> group, of every benchmark that was asked for."""
        return self.study.benchmarks.groups

    @property
    def varies_both(self) -> bool:
        """Whether the study has scores of several response weights."""
        return self.study.scores["response_weight"].nunique() > 1

    @property
    def response_weight(self) -> float:
        """That of the cells which all chapters but the one on both weights are of."""
        return float(self.frame.rows["response_weight"].iloc[0])

    @cached_property
    def both_weights(self) -> tuple[GridStudy, list[str]]:
        """From ``grid_study``, of a study that varies both weights.

        Raises:
            UserError: see ``grid_study``.
        """
        return grid_study(self.study, self.frame, self.statistics)


def make_context(
    study: Study,
    frame: TidyFrame,
    generations: int | None = None,
) -> Context:
    """Compute everything of a study that its report shows; ``frame`` is the study's."""
    rows, notes = fitted_rows(frame.rows)
    is_large = len(frame.rows) > MODEL_ROWS
    if is_large:
        notes.append(f"Of more than {MODEL_ROWS:,} scores the sensitivity to open choices is not computed.")
    judged, left_out = verdict_rows(frame.rows)
    fits = regressions(rows)
    statistics, problems = read_table_1(study)
    means = aggregates(frame)
    best = means[means["best_relative"]].drop_duplicates("dataset").set_index("dataset")["prompt_weight"]
    compared = weight_comparisons(study, frame, {str(name): float(plw) for name, plw in best.items()})
    return Context(
        study=study,
        frame=replace(frame, notes=(*frame.notes, *left_out, *notes)),
        generations=generations,
        axes=study_data(study),
        cells=cell_aggregates(frame),
        aggregates=means,
        grouped=grouped_aggregates(frame),
        curves=benchmark_curves(frame),
        intervals=every_interval(frame),
        choice=leave_one_out(frame),
        seeds=seed_components(frame),
        verdicts=scope_verdicts(replace(frame, rows=judged)),
        comparisons=compared,
        noise=noise_floor(frame, compared.rows),
        fits=fits,
        checks={
            # Random effects are kept: drawn anew, two base models leave the checks no power (docs/statistics.md).
            fit.dataset: residual_checks(fit.fit, conditional=True)
            for fit in fits
            if fit.fit is not None and fit.converged
        },
        # Eight fits a dataset, which a large study is spared; its page says so.
        sensitivity=sensitivity(rows.head(0) if is_large else rows),
        ratio=ratio_fits(replace(frame, rows=rows)),
        statistics=statistics,
        problems=problems,
    )


def every_interval(frame: TidyFrame) -> pd.DataFrame:
    """The intervals of ``bootstrap_aggregates`` for every unit that it can draw."""
    return pd.concat([bootstrap_aggregates(frame, unit=unit) for unit in UNITS], ignore_index=True)
