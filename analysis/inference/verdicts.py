"""What a study says of each dataset: of all benchmarks, of each kind, and of each benchmark alone.

A scope moved where its corrected p is below the level. Of several benchmarks p is the omnibus test's, in which effects
of opposite sign do not cancel; of one benchmark it is the F test of its curve. How far and in which direction is said
of the mean curve, and where nothing is shown, which difference from the smallest weight the data exclude. Higher is
better throughout: scores of which lower ones are better are turned round, as in all tables.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import pandas as pd

from analysis.arrays import Array
from analysis.inference.base_changes import BaseChange, base_changes
from analysis.inference.omnibus import combined_p, omnibus_p
from analysis.inference.weight_curve import WeightCurve, fit_curve, same_at_every_weight
from analysis.inference.weight_means import MISFIT_SHARE, MISFIT_SIGNIFICANCE, MeanChange, mean_changes, off_parabola_p
from analysis.items.compare import holm
from analysis.levels import SIGNIFICANCE
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import TidyFrame, turned_round, weight_from_scale
from analysis.scores.repeats import without_repeats
from plw.results.score import is_percentage


class VerdictScope(StrEnum):
    """What a verdict is of."""

    ALL = "all"
    GROUP = "group"
    BENCHMARK = "benchmark"


class Undecided(StrEnum):
    """Why there is no test, though scores vary."""

    ONE_WEIGHT = "one weight"
    LACKING = "too few cells have all benchmarks"
    NO_PAIR = "no base model and seed has two weights"
    FEW_CELLS = "too few cells"


@dataclass(frozen=True, kw_only=True)
class ScopeVerdict:
    """One dataset and scope; numbers are on the score's own range, higher is better, None where the data have none."""

    dataset: str
    scope: VerdictScope
    name: str
    """``all benchmarks``, a group of the suite, or a benchmark."""
    group: str | None
    """The group of a benchmark; None of a wider scope."""
    benchmarks: int
    p: float | None
    """Of several benchmarks the omnibus test's, of one the curve's."""
    p_holm: float | None
    """Corrected within its dataset and scope."""
    p_mean: float | None
    """Of the F test that the mean curve is flat."""
    moved: bool
    same: bool
    """Whether the scores are the same at every weight in each run: no p and no bound follows from them."""
    undecided: Undecided | None
    """Why there is no p; None where there is one, or where the scores are the same at every weight."""
    cells: int
    """With all benchmarks of the scope: the verdict is of these."""
    cells_lacking: int
    """That lack some of its benchmarks, and have others."""
    direction: str | None
    """``up``, ``down``, ``peak`` or ``dip`` of the mean curve over the weight; None where nothing moved, or where
    benchmarks moved against each other."""
    from_weight: float | None
    """The smallest weight of the data, 0 where the study has it: differences are from it, and nothing is said below."""
    at_0: float | None
    """At ``from_weight``."""
    at_best: float | None
    at_1: float | None
    """At the largest weight of the data."""
    at_lowest: float | None
    """Where the curve is lowest."""
    change_low: float | None
    """Ends of the simultaneous 95 % band of the difference from ``from_weight``, at the best weight where the curve
    goes up or peaks, at the lowest where it goes down or dips; None where there is no error."""
    change_high: float | None
    misfit: float | None
    """The most by which the mean score of the cells at a weight lies off the curve."""
    p_parabola: float | None
    """Of the test that a parabola goes through the mean scores, corrected as ``p_holm``; None without repetitions."""
    highest: MeanChange | None
    """Where no parabola does (``off_parabola``): the mean score that is highest beside the one at ``from_weight``, and
    the lowest."""
    lowest: MeanChange | None
    best_weight: float | None
    lowest_weight: float | None
    best_low: float | None
    best_high: float | None
    excluded: float | None
    """The largest difference from ``from_weight``, either way, that the 95 % band allows; larger ones are excluded.
    None where nothing is: no band, or one that holds every difference for which the score's range has room."""
    base_models: int
    """With two weights or more: what the verdict is of."""
    bases: tuple[BaseChange, ...]
    """Of a group and several base models: each one's own change. Tested alone where base models are no sample."""
    over_bases: bool | None
    """Whether the base models count as a sample; else the verdict is of these base models."""
    scale: float
    """The score's full range."""
    turned: bool
    """Whether a benchmark's scores were turned round (``scale`` less the score), since lower ones are better."""

    @property
    def off_parabola(self) -> bool:
        """Whether it is plain that no parabola goes through the mean scores, so that words are of these."""
        return self.highest is not None

    @property
    def opposed(self) -> bool:
        """Benchmarks moved, but their mean is not shown to."""
        return self.moved and self.direction is None

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


def scope_verdicts(frame: TidyFrame) -> list[ScopeVerdict]:
    """Every dataset's verdicts, in the paper's order: all benchmarks, the groups, the benchmarks.

    A seed that repeats another's scores to the digit takes no part.
    """
    found: list[ScopeVerdict] = []
    kept = without_repeats(frame.rows)
    for dataset in dataset_order(set(kept["dataset"])):
        rows = kept[kept["dataset"] == dataset]
        by_scope: dict[VerdictScope, list[ScopeVerdict]] = {}
        for scope, name, part in _scopes(rows):
            by_scope.setdefault(scope, []).append(_verdict(dataset, scope, name, part))
        for of_scope in by_scope.values():
            found += _bases_corrected(_parabolas_corrected(_corrected(of_scope)))
    return found


def _scopes(rows: pd.DataFrame) -> Iterator[tuple[VerdictScope, str, pd.DataFrame]]:
    if rows["benchmark"].nunique() > 1:
        yield VerdictScope.ALL, "all benchmarks", rows
    for scope, column in ((VerdictScope.GROUP, "group"), (VerdictScope.BENCHMARK, "benchmark")):
        for name in dict.fromkeys(rows.sort_values(["group", "benchmark"])[column]):
            yield scope, str(name), rows[rows[column] == name]


def _corrected(verdicts: list[ScopeVerdict]) -> list[ScopeVerdict]:
    tested = [verdict for verdict in verdicts if verdict.p is not None]
    corrected = dict(zip(map(id, tested), holm([v.p for v in tested if v.p is not None]), strict=True))
    made = []
    for verdict in verdicts:
        p_holm = corrected.get(id(verdict))
        moved = p_holm is not None and p_holm < SIGNIFICANCE
        shown = moved and verdict.p_mean is not None and verdict.p_mean < SIGNIFICANCE
        made.append(replace(verdict, p_holm=p_holm, moved=moved, direction=verdict.direction if shown else None))
    return made


def _parabolas_corrected(verdicts: list[ScopeVerdict]) -> list[ScopeVerdict]:
    """Means take the place of curves only where it is plain, after correction, that they lie on none."""
    tested = [verdict for verdict in verdicts if verdict.p_parabola is not None]
    corrected = dict(
        zip(map(id, tested), holm([v.p_parabola for v in tested if v.p_parabola is not None]), strict=True)
    )
    made = []
    for verdict in verdicts:
        p = corrected.get(id(verdict))
        largest = max((abs(end.change) for end in (verdict.highest, verdict.lowest) if end is not None), default=0.0)
        plain = p is not None and p < MISFIT_SIGNIFICANCE and (verdict.misfit or 0.0) > MISFIT_SHARE * largest
        kept = verdict if plain else replace(verdict, highest=None, lowest=None)
        made.append(replace(kept, p_parabola=p))
    return made


def _bases_corrected(verdicts: list[ScopeVerdict]) -> list[ScopeVerdict]:
    """The tests of single base models, a family of their own over all groups."""
    tested = [base for verdict in verdicts for base in verdict.bases if base.p is not None]
    corrected = dict(zip(map(id, tested), holm([base.p for base in tested if base.p is not None]), strict=True))

    def own(base: BaseChange) -> BaseChange:
        p_holm = corrected.get(id(base))
        return replace(base, p_holm=p_holm, moved=p_holm is not None and p_holm < SIGNIFICANCE)

    return [replace(verdict, bases=tuple(map(own, verdict.bases))) for verdict in verdicts]


def _verdict(dataset: str, scope: VerdictScope, name: str, rows: pd.DataFrame) -> ScopeVerdict:
    """Before the correction; ``direction`` is the mean curve's shape whether or not it moved."""
    scored = rows.pivot_table(index=["model", "seed", "w_p"], columns="benchmark", values="score01")
    table = scored.dropna()
    cells = table.reset_index()
    base_N = [str(model) for model in cells["model"]]
    run_N = [f"{model} {seed}" for model, seed in zip(cells["model"], cells["seed"], strict=True)]
    # A base model of one weight alone takes no part in any test.
    weights = cells.groupby(["model", "seed"])["w_p"].nunique()
    base_models = weights[weights > 1].index.get_level_values("model").nunique()
    w_N, score_NG = cells["w_p"].to_numpy(dtype=float), table.to_numpy(dtype=float)
    curve = fit_curve(score_NG.mean(axis=1), w_N, base_N, run_N) if len(cells) else None
    same = curve is not None and same_at_every_weight(score_NG, run_N)
    p_mean = curve.p if curve is not None and curve.decides and not same else None
    # Several metrics are put on 0 to 1.
    scale = 100.0 if rows["metric"].map(is_percentage).all() else 1.0
    several = score_NG.shape[1] > 1 and not same
    p = _omnibus(curve, score_NG, w_N, base_N, run_N) if several else p_mean
    blank: dict[str, Any] = {
        "dataset": dataset, "scope": scope, "name": name,
        "group": str(rows["group"].iloc[0]) if scope == VerdictScope.BENCHMARK else None,
        "benchmarks": int(rows["benchmark"].nunique()),
        "p": p, "p_holm": None, "p_mean": p_mean, "moved": False, "same": same,
        "undecided": None if p is not None or same else _why_undecided(scored, table),
        "cells": len(table), "cells_lacking": len(scored) - len(table),
        "base_models": base_models, "over_bases": curve.over_bases if curve is not None else None, "scale": scale,
        "turned": bool(turned_round(rows)),
    }  # fmt: skip
    numbers = _curve_numbers(curve, scale)
    bases: list[BaseChange] = []
    if curve is None:
        numbers["from_weight"] = weight_from_scale(float(rows["w_p"].min()))
    elif scope == VerdictScope.GROUP and len(set(base_N)) > 1 and not same:
        place = float(curve.w_M[curve.place])
        bases = base_changes(score_NG, w_N, base_N, run_N, place, tested=not curve.over_bases)
    scaled = [
        replace(base, change=None if base.change is None else scale * base.change, largest=scale * base.largest)
        for base in bases
    ]
    means = _means(score_NG.mean(axis=1), w_N, base_N, run_N, scale)
    return ScopeVerdict(**blank, **numbers, **means, bases=tuple(scaled))


def _means(score_N: Array, w_N: Array, base_N: list[str], run_N: list[str], scale: float) -> dict[str, Any]:
    """What the mean scores by weight say; ``highest`` and ``lowest`` whether or not a parabola goes through them."""
    p = off_parabola_p(score_N, w_N, run_N) if len(score_N) else None
    changes = mean_changes(score_N, w_N, base_N, run_N) if p is not None else []
    own = [replace(each, change=scale * each.change, low=scale * each.low, high=scale * each.high) for each in changes]
    return {
        "p_parabola": p if own else None,
        "highest": max(own, key=lambda each: each.change, default=None),
        "lowest": min(own, key=lambda each: each.change, default=None),
    }


def _why_undecided(scored: pd.DataFrame, complete: pd.DataFrame) -> Undecided:
    """Of tables with a row a cell (index model, seed, w_p): all cells, and those that have every benchmark."""
    if scored.index.get_level_values("w_p").nunique() == 1:
        return Undecided.ONE_WEIGHT
    if len(complete) < len(scored):
        return Undecided.LACKING
    return Undecided.FEW_CELLS if scored.groupby(["model", "seed"]).size().max() > 1 else Undecided.NO_PAIR


def _omnibus(
    curve: WeightCurve | None, score_NG: Array, w_N: Array, base_N: list[str], run_N: list[str]
) -> float | None:
    """Of several benchmarks: by permutation for these base models, else from the tests over base models."""
    if curve is None or not curve.over_bases:
        return omnibus_p(score_NG, w_N, run_N) if len(score_NG) else None
    curves = [fit_curve(score_N, w_N, base_N, run_N) for score_N in score_NG.T]
    return combined_p(curve.p, [each.p for each in curves if each is not None])


def _curve_numbers(curve: WeightCurve | None, scale: float) -> dict[str, Any]:
    names = (
        "direction", "from_weight", "at_0", "at_best", "at_1", "at_lowest", "best_weight", "lowest_weight",
        "best_low", "best_high", "excluded", "change_low", "change_high", "misfit",
    )  # fmt: skip
    if curve is None:
        return dict.fromkeys(names)
    low_M, high_M = curve.bounds()
    difference_M = curve.difference_M

    def own(difference: float) -> float:
        # A parabola knows no bounds; a score has them.
        return scale * min(1.0, max(0.0, curve.at_start + difference))

    # A standard error of 0 is no certainty, neither of a bound nor of a best weight.
    best, best_low, best_high = (None, None, None) if curve.still else curve.best()
    known = not curve.still and not curve.exact
    if not known:
        best_low = best_high = None
    start = min(1.0, max(0.0, curve.at_start))
    at = curve.place
    largest = float(max(-low_M.min(), high_M.max()))
    values = (
        None if curve.still else curve.shape,
        weight_from_scale(curve.smallest_w),
        own(0.0),
        own(float(difference_M.max())),
        own(float(difference_M[-1])),
        own(float(difference_M.min())),
        best,
        None if curve.still else curve.lowest(),
        best_low,
        best_high,
        scale * largest if known and largest < max(start, 1 - start) else None,
        own(float(low_M[at])) - own(0.0) if known else None,
        own(float(high_M[at])) - own(0.0) if known else None,
        scale * curve.misfit,
    )
    return dict(zip(names, values, strict=True))
