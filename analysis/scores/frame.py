"""The tidy frame: one row per cell and benchmark, on the paper's scales; what is missing is listed and never filled."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from analysis.arrays import Array
from analysis.scores.mixtures import refuse_mixed_cells, refuse_mixed_scores
from plw.errors import UserError, shortened
from plw.registry.rows import CellRow
from plw.results.identity import field_diff
from plw.results.score import PERCENT_METRICS, is_percentage

EXPONENT = 0.30103
"""w_p = PLW ** 0.30103 (PLW paper, section 5.1): 0.1 becomes 0.5, 0.01 becomes 0.25."""

Weights = TypeVar("Weights", float, Array, "pd.Series[float]")

AXES = ["dataset", "model", "prompt_weight", "response_weight", "normalizer", "scope", "weighting", "recipe", "seed"]
"""What defines a cell within a study and scale. An export has no normalizer and scope; they are empty then."""

NEEDED = [
    "dataset", "model", "prompt_weight", "response_weight", "seed", "r_g", "suite", "benchmark", "metric", "value",
    "stderr", "n", "headline",
]  # fmt: skip
"""Columns of the scores."""

TIDY_COLUMNS = [
    *AXES, "r_g", "suite", "benchmark", "group", "metric", "value", "stderr", "n", "w_p", "score01", "stderr01",
    "scaled",
]  # fmt: skip
"""Columns of the tidy frame."""

VARIANT = ["response_weight", "normalizer", "scope", "weighting", "recipe"]
"""Axes that the PLW analysis holds fixed."""


@dataclass(frozen=True, kw_only=True)
class TidyFrame:
    """Headline scores of one study.

    Columns of ``rows``: the axes, ``r_g``, ``suite``, ``benchmark``, ``group``, ``metric``, ``value``, ``stderr`` and
    ``n`` as reported, ``w_p``, ``score01`` (on 0 to 1, higher is better), ``stderr01`` (its standard error over the
    benchmark's documents, on the same scale) and ``scaled`` (min-max within dataset x benchmark over all weights,
    models and seeds; NaN where all scores are the same). Columns of ``missing``: the axes and ``benchmark``.
    """

    rows: pd.DataFrame
    missing: pd.DataFrame
    notes: tuple[str, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    """Benchmark -> group, of every benchmark that was asked for."""

    @property
    def variant(self) -> tuple[Any, ...]:
        """Values of ``VARIANT`` that all rows have."""
        return tuple(self.rows[name].iloc[0] for name in VARIANT)

    def of_groups(self, groups: Collection[str]) -> "TidyFrame":
        """The part that is of the benchmarks of some groups; every scale is within a benchmark, so it stays."""
        chosen = {name: group for name, group in self.groups.items() if group in groups}
        rows, missing = (table[table["benchmark"].isin(list(chosen))] for table in (self.rows, self.missing))
        return replace(self, rows=rows.reset_index(drop=True), missing=missing.reset_index(drop=True), groups=chosen)


def tidy_frame(
    scores: pd.DataFrame, groups: Mapping[str, str], cells: Sequence[CellRow] = (), recipe: str | None = None
) -> TidyFrame:
    """Choose the headline scores of the benchmarks in ``groups`` and put them on common scales.

    Where a study varies the response weight, the normalizer, the scope, the weighting or the recipe, the combination
    with the most cells is taken (of equals, the one whose response weight is 1, then the first by name), and where
    several judges compared the same answers, the one with the most; the notes say so. A headline score without a value
    counts as missing.

    Args:
        scores: ``Study.scores``, or ``read_scores(...)`` of one study and scale.
        groups: benchmark -> group (``multiple_choice``, ``short_generation``, ``translation``, ``long_generation``).
        cells: cells of the registry, so that one without any score is missed too.
        recipe: the recipe that is shown; by default the one with the most cells.

    Raises:
        UserError: a column is missing, no headline score, two for one cell and benchmark, cells of one name and two
            contents, a benchmark that was scored in two ways, a weight outside 0 to 1, or a value outside its metric's
            range.
    """
    rows, notes = _headline_rows(scores, groups)
    grid = pd.DataFrame([asdict(cell) for cell in cells], columns=AXES) if cells else rows[AXES]
    if recipe is not None:
        rows, grid = rows[rows["recipe"] == recipe], grid[grid["recipe"] == recipe]
    variant, why = _variant(grid)
    notes += why
    rows, grid = _only(rows, variant), _only(grid, variant)
    _refuse_duplicates(rows, cells)
    # Rows of an export name no cells.
    shown = set(rows["cell"]) if "cell" in rows else set()
    refuse_mixed_cells(cell for cell in cells if cell.cell in shown)
    refuse_mixed_scores(rows, groups.items())
    rows = _on_common_scales(_with_value(rows, notes), groups)
    notes += [f"{benchmark} is turned round: lower scores are better, so what counts is {full:g} less the score."
              for benchmark, full in turned_round(rows).items()]  # fmt: skip
    notes += [f"{benchmark} on {dataset} has the same score everywhere; it has no place on the relative scale."
              for dataset, benchmark in _constant(rows)]  # fmt: skip
    rows = rows[TIDY_COLUMNS].sort_values([*AXES, "benchmark"], ignore_index=True)
    missing = find_missing(rows, grid, sorted(groups))
    return TidyFrame(rows=rows, missing=missing, notes=tuple(notes), groups=dict(groups))


def _headline_rows(scores: pd.DataFrame, groups: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The headline scores of the suite's benchmarks, each by one judge; and what was left out, in sentences."""
    absent = [name for name in NEEDED if name not in scores]
    if absent:
        raise UserError(f"the scores have no column {absent[0]}; needed are {', '.join(NEEDED)}")
    if scores.empty or not scores["headline"].any():
        raise UserError("no headline scores to analyse; run the study first; `plw status` says what failed")
    rows = scores[scores["headline"].astype(bool)]
    rows = rows.assign(**{name: "" for name in AXES if name not in rows})
    notes: list[str] = []
    rows = _one_judge(rows, notes)
    unknown = sorted(set(rows["benchmark"]) - set(groups))
    if unknown:
        notes.append(f"Left out, because the suite does not name them: {', '.join(unknown)}.")
        rows = rows[rows["benchmark"].isin(list(groups))]
        if rows.empty:
            raise UserError(f"no headline score of the suite's benchmarks; the registry has {', '.join(unknown)}")
    _refuse_weights(rows)
    return rows, notes


def _with_value(rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    empty = rows["value"].isna()
    if not empty.any():
        return rows
    if empty.all():
        raise UserError("no headline score has a value")
    notes.append(f"{int(empty.sum())} headline scores have no value; they count as missing.")
    return rows[~empty]


def _on_common_scales(rows: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """The rows with their group, and weight and score on the scales of :class:`TidyFrame`."""
    rows = rows.assign(group=rows["benchmark"].map(dict(groups)), w_p=weight_scale(rows["prompt_weight"]))
    rows = rows.assign(score01=_unit_scores(rows), stderr01=_on_unit_scale(rows, "stderr"))
    return rows.assign(scaled=min_max(rows))


def turned_round(rows: pd.DataFrame) -> dict[str, float]:
    """Benchmarks whose ``score01`` is 1 less the score, since lower ones are better, with the score's full range."""
    known = rows[~np.isclose(_on_unit_scale(rows, "value"), rows["score01"])].sort_values("benchmark")
    return {
        str(name): 100.0 if is_percentage(metric) else 1.0
        for name, metric in zip(known["benchmark"], known["metric"], strict=True)
    }


def weight_scale(prompt_weight: Weights) -> Weights:
    """PLW on the paper's transformed scale, 0 to 0 and 1 to 1: one weight, an array or a column."""
    scaled: Weights = prompt_weight**EXPONENT
    return scaled


def weight_from_scale(w_p: float) -> float:
    """The PLW whose transformed weight is ``w_p``."""
    return float(w_p ** (1 / EXPONENT))


def min_max(rows: pd.DataFrame) -> "pd.Series[float]":
    """``score01`` scaled to 0 at the smallest and 1 at the largest within dataset x benchmark; NaN if all are equal."""
    within = rows.groupby(["dataset", "benchmark"])["score01"]
    low, high = within.transform("min"), within.transform("max")
    return (rows["score01"] - low) / (high - low).where(high > low)


def find_missing(rows: pd.DataFrame, grid: pd.DataFrame, benchmarks: Sequence[str]) -> pd.DataFrame:
    """Cells x benchmarks that have no score, where the grid is the product of the axes' values found in ``grid``."""
    axes = [sorted(set(grid[name])) for name in AXES]
    there = set(rows[[*AXES, "benchmark"]].itertuples(index=False, name=None))
    missing = [point for point in product(*axes, benchmarks) if point not in there]
    return pd.DataFrame(missing, columns=[*AXES, "benchmark"])


def describe_missing(missing: pd.DataFrame, benchmarks: int) -> list[str]:
    """The missing in words, one line a cell: what it lacks, or that it is missing whole."""
    lines = []
    for point, lacking in missing.groupby(AXES, sort=True)["benchmark"]:
        dataset, model, prompt_weight, *_, seed = point
        what = "every score" if len(lacking) == benchmarks else ", ".join(lacking)
        lines.append(f"{dataset}, {model}, PLW {prompt_weight:g}, seed {seed}: {what}")
    return lines


def variant_words(variant: tuple[Any, ...], among: Collection[tuple[Any, ...]]) -> str:
    """The values of ``VARIANT`` in words; what is empty is named where others of ``among`` have it."""
    words = []
    for place, (name, value) in enumerate(zip(VARIANT, variant, strict=True)):
        if value != "":
            words.append(f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name} {value}")
        elif len({other[place] for other in among}) > 1:
            words.append("no weighting beyond the two weights" if name == "weighting" else f"no {name}")
    return ", ".join(words)


def _variant(grid: pd.DataFrame) -> tuple[tuple[Any, ...], list[str]]:
    """The variant that is shown, and where there are several, how it was chosen, in a sentence."""
    sizes = grid[AXES].drop_duplicates().groupby(VARIANT).size()
    found = sorted(sizes.index, key=lambda key: (-sizes[key], key[0] != 1.0, key))
    if len(found) == 1:
        return found[0], []
    equals = [key for key in found if sizes[key] == sizes[found[0]]]
    if len(equals) == 1:
        how = "the one with the most cells"
    elif sum(key[0] == 1.0 for key in equals) == 1:
        how = f"the one with response weight 1, of the {len(equals)} with the most cells,"
    else:
        how = f"the first by name, of the {len(equals)} with the most cells,"
    return found[0], [f"Of {len(found)} variants of the loss, {how} is shown: {variant_words(found[0], found)}."]


def _only(frame: pd.DataFrame, variant: tuple[Any, ...]) -> pd.DataFrame:
    keep = np.logical_and.reduce([frame[name] == value for name, value in zip(VARIANT, variant, strict=True)])
    return frame[keep]


def _refuse_weights(rows: pd.DataFrame) -> None:
    outside = rows[~rows["prompt_weight"].between(0, 1)]
    if len(outside):
        row = outside.iloc[0]
        raise UserError(
            f"{row['dataset']}, {row['benchmark']}: prompt weight {row['prompt_weight']:g}; allowed is 0 to 1"
        )


def _one_judge(rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Of several judges of one benchmark the one with the most scores, of equals the first by name."""
    if "judge" not in rows:
        return rows
    keep = pd.Series(True, index=rows.index)
    for benchmark, of_benchmark in rows.groupby("benchmark"):
        judges = of_benchmark["judge"].value_counts()
        if len(judges) > 1:
            chosen = sorted(judges.index, key=lambda name: (-judges[name], name))[0]
            keep &= (rows["benchmark"] != benchmark) | (rows["judge"] == chosen)
            notes.append(
                f"{benchmark} was judged by {', '.join(sorted(judges.index))}; the scores of {chosen} are shown."
            )
    return rows[keep]


def _refuse_duplicates(rows: pd.DataFrame, cells: Sequence[CellRow]) -> None:
    twice = rows[rows.duplicated([*AXES, "benchmark"], keep=False)]
    if twice.empty:
        return
    row = twice.iloc[0]
    what = f"{row['dataset']}, {row['model']}, PLW {row['prompt_weight']:g}, seed {row['seed']}"
    point = [*AXES, "benchmark"]
    same: set[str] = set() if "cell" not in twice else set(twice.loc[(twice[point] == row[point]).all(axis=1), "cell"])
    found = sorted((cell for cell in cells if cell.cell in same), key=lambda cell: cell.created)
    if len(found) < len(same) or len(found) < 2:
        raise UserError(
            f"two headline scores of {row['benchmark']} for {what}; keep the rows of one suite, one recipe, one judge"
        )
    first, second = found[:2]
    differ = field_diff(json.loads(first.payload), json.loads(second.payload))
    raise UserError(
        f"{first.folder} and {second.folder} are both of {what}, and differ in {shortened('; '.join(differ), 160)}: "
        "show one alone. Remove the folder of the other and call `plw registry gc`, or train it under a name of its "
        "own (such as recipe.name)"
    )


def _unit_scores(rows: pd.DataFrame) -> "pd.Series[float]":
    """Values on 0 to 1 with higher better: percentages divided by 100, metrics where lower is better taken from 1."""
    score = _on_unit_scale(rows, "value")
    outside = rows[(score < 0) | (score > 1)]
    if len(outside):
        row = outside.iloc[0]
        allowed = f"0 to 100 for {', '.join(sorted(PERCENT_METRICS))}, 0 to 1 for others"
        raise UserError(f"{row['benchmark']}: headline {row['metric']} is {row['value']:g}; allowed is {allowed}")
    if "higher_is_better" in rows:
        score = score.where(~rows["higher_is_better"].eq(False).fillna(False).astype(bool), 1 - score)
    return score


def _on_unit_scale(rows: pd.DataFrame, column: str) -> "pd.Series[float]":
    return rows[column].mask(rows["metric"].map(is_percentage).astype(bool), rows[column] / 100)


def _constant(rows: pd.DataFrame) -> list[tuple[Any, Any]]:
    return sorted(set(rows.loc[rows["scaled"].isna(), ["dataset", "benchmark"]].itertuples(index=False, name=None)))
