"""A study that varies both weights as a grid: what every base model and dataset has, and what goes with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.inference.held_out_choice import HeldOutGain, held_out_choices
from analysis.inference.weight_correlations import Covariate
from analysis.inference.weight_regions import CellError, PanelRegion, panel_regions
from analysis.published.wit_grid import CONVENTIONAL, PANEL, WEIGHT_PAIR, WeightGrid, pairs, panels, true_average
from analysis.scores.frame import VARIANT, TidyFrame, tidy_frame
from analysis.scores.study import Study
from analysis.scores.training_records import read_model_sizes
from plw.errors import UserError

CELL_OF_GRID = [*PANEL, *WEIGHT_PAIR]
MIN_PAIRS = 3
BEGUN = 0.5
"""A panel with a smaller share of the fullest one's scores has hardly begun; it is left out, not the pairs it lacks."""
DATASET_COVARIATES = {
    "generation ratio": ("r_g",),
    "prompt tokens": ("instruction_mean", "input_mean"),
    "completion tokens": ("completion_mean",),
    "records": ("examples",),
    "n-gram overlap": ("bigram_overlap",),
}
"""What the best weights may go with -> the columns of the datasets' statistics whose sum it is."""


@dataclass(frozen=True, kw_only=True)
class GridStudy:
    """A grid over both weights, and what is known beside it."""

    grid: WeightGrid
    kinds: Mapping[str, tuple[str, ...]]
    """Kind of benchmark -> benchmarks of the grid."""
    rows: pd.DataFrame
    """Scores as ``TidyFrame.rows`` has them, of every response weight."""
    covariates: tuple[Covariate, ...]
    """What the best weights may go with."""
    unknown: tuple[str, ...] = ()
    """A line for each thing asked of the best weights that is not known."""
    left_out: tuple[str, ...] = ()
    """Benchmarks that the study asks for and some panel lacks: in none of the grid's numbers."""

    @cached_property
    def regions(self) -> tuple[list[PanelRegion], CellError]:
        """From ``panel_regions``."""
        return panel_regions(self.grid)

    @cached_property
    def choices(self) -> list[HeldOutGain]:
        """From ``held_out_choices``."""
        return held_out_choices(self.grid)


def grid_study(study: Study, frame: TidyFrame, statistics: pd.DataFrame) -> tuple[GridStudy, list[str]]:
    """The grid of a study with its kinds of benchmarks and covariates, and lines on what was left out.

    Args:
        study: one that varies both weights.
        frame: its scores of one variant; the grid has that variant's at every response weight.
        statistics: of the datasets, from ``read_table_1``; may be empty.

    Raises:
        UserError: see ``study_grid``.
    """
    rows = score_rows_of_both(study, frame)
    grid, notes = study_grid(rows)
    kept = rows[rows["benchmark"].isin(grid.benchmarks)]
    groups = dict(kept[["benchmark", "group"]].drop_duplicates().itertuples(index=False, name=None))
    kinds = {
        str(kind): tuple(name for name in grid.benchmarks if groups[name] == kind)
        for kind in dict.fromkeys(groups[name] for name in grid.benchmarks)
    }
    left_out = tuple(sorted(set(frame.groups) - set(grid.benchmarks)))
    covariates = _covariates(study, statistics)
    return GridStudy(grid=grid, kinds=kinds, rows=kept, covariates=covariates, left_out=left_out), notes


def same_loss_scores(study: Study, frame: TidyFrame) -> pd.DataFrame:
    """The scores of the frame's variant at every response weight: other normalizers, recipes, weightings are left out.

    Args:
        study: what was read of the registry.
        frame: its scores of one variant.
    """
    same = study.scores
    for name, value in zip(VARIANT, frame.variant, strict=True):
        if name != "response_weight" and name in same:
            same = same[same[name] == value]
    return same


def score_rows_of_both(study: Study, frame: TidyFrame) -> pd.DataFrame:
    """Headline scores of every response weight, each chosen and scaled as the report's other chapters do."""
    same = same_loss_scores(study, frame)
    parts = [
        tidy_frame(of_weight, study.benchmarks.groups).rows
        for _, of_weight in same.groupby("response_weight")
        if of_weight["headline"].fillna(value=False).astype(bool).any()
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(score=100 * rows["score01"], error=100 * rows["stderr01"])


def study_grid(rows: pd.DataFrame) -> tuple[WeightGrid, list[str]]:
    """The scores of a study (0 to 100, higher is better, means over seeds) by both weights, and what was left out.

    Panels that have hardly begun or lack the usual loss are left out, then benchmarks that some panel lacks, then pairs
    that some panel lacks.

    Raises:
        UserError: no panel with the usual loss (0, 1), no benchmark that every panel has, fewer than three pairs, or a
            usual loss that scores 0.
    """
    rows, notes = _begun_panels(rows)
    means = rows.groupby(["benchmark", *CELL_OF_GRID])["score"].mean().reset_index()
    all_panels = set(means[PANEL].itertuples(index=False, name=None))
    names = sorted(set(means["benchmark"]))
    kept = [name for name in names if set(panels(means, name).index) == all_panels]
    if not kept:
        raise UserError("no benchmark has scores of every base model and dataset")
    shared = set.intersection(*(set(pairs(panels(means, name).dropna(axis="columns"))) for name in kept))
    if CONVENTIONAL not in shared or len(shared) < MIN_PAIRS:
        raise UserError(
            f"the pairs of weights that every base model, dataset and benchmark has are {len(shared)}; needed are "
            "three or more with (0, 1) among them"
        )
    here = list(zip(means["prompt_weight"], means["response_weight"], strict=True))
    is_shared = np.array([pair in shared for pair in here])
    scores = means[is_shared & means["benchmark"].isin(kept)].reset_index(drop=True)
    if kept != names:
        notes.append(f"Left out, because a panel lacks them: {', '.join(sorted(set(names) - set(kept)))}.")
    if lost := len(set(here)) - len(shared):
        notes.append(f"{lost} pairs of weights are left out, because a panel lacks a score of theirs.")
    average = true_average(scores, kept)
    for dataset, model in average.index[~(average[CONVENTIONAL] > 0)]:
        raise UserError(f"the usual loss (0, 1) scores 0 with {model} on {dataset}; gains in percent have no base")
    pair_of = zip(rows["prompt_weight"], rows["response_weight"], strict=True)
    own = rows[rows["benchmark"].isin(kept) & np.array([pair in shared for pair in pair_of])]
    return (
        WeightGrid(
            scores=scores, benchmarks=tuple(kept), average=average, of_seed=_of_seed(own, average, len(kept)),
            item_error=_item_error(own, average, len(kept)),
        ),
        notes,
    )  # fmt: skip


def _begun_panels(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows of panels that are far enough to be counted, and a line on the others."""
    size = rows.groupby(PANEL).size()
    pair_of = rows[WEIGHT_PAIR].apply(tuple, axis=1)
    with_usual = set(rows.loc[pair_of == CONVENTIONAL, PANEL].itertuples(index=False, name=None))
    kept = {name for name, number in size.items() if number >= BEGUN * size.max() and name in with_usual}
    if not kept:
        raise UserError("no base model and dataset has the usual loss (0, 1), which gains are measured against")
    lost = [f"{model} on {dataset}" for dataset, model in sorted(set(size.index) - kept)]
    notes = [f"Left out, because too few of their cells are there: {', '.join(lost)}."] if lost else []
    in_kept = [name in kept for name in rows[PANEL].itertuples(index=False, name=None)]
    return rows[in_kept], notes


def _of_seed(rows: pd.DataFrame, average: pd.DataFrame, benchmarks: int) -> pd.DataFrame | None:
    """The average of each seed, where all panels have several whole ones."""
    if rows["seed"].nunique() < 2:
        return None
    by_cell = rows.groupby([*PANEL, "seed", *WEIGHT_PAIR])["score"].agg(["mean", "size"])
    table = by_cell.loc[by_cell["size"] == benchmarks, "mean"].unstack(WEIGHT_PAIR)
    table = table.reindex(columns=average.columns).dropna()
    seeds = table.groupby(level=PANEL).size()
    return table if len(seeds) == len(average) and (seeds > 1).all() else None


def _item_error(rows: pd.DataFrame, average: pd.DataFrame, benchmarks: int) -> pd.DataFrame | None:
    """Standard error over items of each cell's average, where every score has one."""
    if rows["error"].isna().any():
        return None
    of_score = rows.assign(square=rows["error"] ** 2).groupby(["benchmark", *CELL_OF_GRID])["square"]
    # Of a mean over seeds; their items are the same, so errors of seeds do not average out.
    square = of_score.mean().groupby(CELL_OF_GRID).sum()
    error: pd.DataFrame = np.sqrt(square).unstack(WEIGHT_PAIR) / benchmarks
    return error.reindex(index=average.index, columns=average.columns)


def _covariates(study: Study, statistics: pd.DataFrame) -> tuple[Covariate, ...]:
    """What is known of the datasets and base models."""
    covariates = [Covariate(name="parameters", level="model", values=read_model_sizes(study))]
    for name, columns in DATASET_COVARIATES.items():
        values: Mapping[str, float] = {}
        if len(statistics) and set(columns) <= set(statistics):
            known = statistics.assign(sum=statistics[list(columns)].sum(axis=1, skipna=False)).dropna(subset=["sum"])
            values = {str(dataset): float(value) for dataset, value in known.groupby("dataset")["sum"].mean().items()}
        covariates.append(Covariate(name=name, level="dataset", values=values))
    return tuple(covariates)
