"""The numbers behind the page's widgets, as plain JSON values with documented keys; missing is None, never 0.

Places in lists stand for names: ``cell`` is a place in ``StudyData.cells``, ``dataset`` and ``weight`` places in the
lists of the same object.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from analysis.figures.contours import WEIGHT_TICKS, ratio_ticks
from analysis.gam.surface import surface
from analysis.inference.bootstrap import UNITS
from analysis.inference.ratio_model import RatioFit
from analysis.report.context import Context
from analysis.report.json_values import json_number, json_numbers
from analysis.report.study_data import StudyData
from analysis.scores.aggregates import AGGREGATE_COLUMNS, aggregates
from analysis.scores.frame import AXES, EXPONENT, VARIANT, TidyFrame, weight_scale
from analysis.scores.mechanism import MECHANISMS
from analysis.scores.study import Study

CURVE_POINTS = 160
"""Points of a training curve on the page at most; a longer one is averaged over windows of equal length."""


class ScoresData(TypedDict):
    """Aggregates by weight, for all models and each, all benchmarks and each group."""

    kinds: list[str]
    groups: list[str]
    series: list[dict[str, Any]]
    """``further`` (a place in ``StudyData.series``; -1: what the report rests on), ``group`` and ``model`` (empty:
    all), ``dataset``, ``kind``, ``bars`` (what the intervals are), ``points`` (PLW, w_p, value, low, high, cells) and
    ``curve`` (c0, c1, c2 of a parabola in w_p, or None)."""


class BenchmarksData(TypedDict):
    """Headline scores of every cell, as the harness reports them, by benchmark."""

    benchmarks: list[dict[str, Any]]
    """``name``, ``group``, ``metric``."""
    points: list[list[Any]]
    """benchmark, cell, value and standard error as reported, n."""
    further: list[list[Any]]
    """A place in ``StudyData.series``, benchmark, dataset, and points (PLW, w_p, mean, lowest, highest, scores;
    as reported) of the benchmarks above."""


class MechanismData(TypedDict):
    """The four measurements of the mechanism, a panel each."""

    panels: list[dict[str, Any]]
    """``title``, ``label`` and ``points`` (cell, value, standard error, n)."""


class CurvesData(TypedDict):
    """Losses by training step, a curve a cell."""

    cells: list[dict[str, Any]]
    """``cell``, ``every`` (steps averaged into a point), and lists of equal length: ``step``, ``prompt_loss``,
    ``completion_loss`` (nats a token, unweighted) and ``loss`` (weighted)."""


class SurfaceData(TypedDict):
    """A fitted score over weight and generation ratio."""

    title: str
    weights: list[float]
    ratios: list[float]
    exponent: float
    """A weight stands at its power of it."""
    weight_ticks: list[float]
    ratio_ticks: list[float]
    values: list[list[float | None]]
    """One row for each ratio, one column for each weight."""
    se: list[list[float | None]]


def scores_data(context: Context) -> ScoresData:
    """Aggregates by weight: with bootstrap intervals over all models and benchmarks, else with standard errors."""
    frame, axes = context.frame, context.axes
    groups = [group for group in dict.fromkeys(frame.rows["group"]) if frame.rows["group"].nunique() > 1]
    series = []
    for place, shown in enumerate([frame, *(further.frame for further in context.study.further)], start=-1):
        rows = shown.rows
        for group in ["", *groups]:
            for model in ["", *(axes["models"] if len(axes["models"]) > 1 else [])]:
                chosen = rows[((rows["group"] == group) | (group == "")) & ((rows["model"] == model) | (model == ""))]
                table = aggregates(TidyFrame(rows=chosen, missing=shown.missing, notes=()))
                intervals = context.intervals if place < 0 and group == model == "" else None
                about = {"further": place, "group": group, "model": model}
                series += [about | line for line in _aggregate_lines(table, axes, intervals)]
    return {"kinds": list(AGGREGATE_COLUMNS), "groups": groups, "series": series}


def _aggregate_lines(table: pd.DataFrame, axes: StudyData, intervals: pd.DataFrame | None) -> Iterator[dict[str, Any]]:
    """A line for each dataset and aggregate of a table of ``aggregates``."""
    names = [dataset["name"] for dataset in axes["datasets"]]
    for dataset, of_dataset in table.groupby("dataset"):
        for kind in AGGREGATE_COLUMNS:
            known = of_dataset.dropna(subset=[kind])
            bounds = _bounds(known, kind, intervals)
            points = [
                [row["prompt_weight"], row["w_p"], json_number(row[kind]), *bound, row["cells"]]
                for row, bound in zip(known.to_dict("records"), bounds["values"], strict=True)
            ]
            curve = _parabola(known["w_p"], known[kind])
            yield {
                "dataset": names.index(dataset), "kind": kind, "bars": bounds["text"], "points": points, "curve": curve,
            }  # fmt: skip


def benchmarks_data(context: Context) -> BenchmarksData:
    """Headline scores of the variant that is analysed, as reported."""
    rows, study = context.frame.rows, context.study
    about = rows.groupby("benchmark", sort=False).agg(group=("group", "first"), metric=("metric", "first"))
    order = list(dict.fromkeys(rows.sort_values(["group", "benchmark"])["benchmark"]))
    shown = pd.DataFrame([(*axes, place) for axes, place in study.place.items()], columns=[*AXES, "place"])
    names = {name: place for place, name in enumerate(order)}
    chosen = rows[["benchmark", "value", "stderr", "n", *AXES]].merge(shown, on=AXES)
    points = [
        [names[row["benchmark"]], row["place"], *(json_number(row[name]) for name in ("value", "stderr", "n"))]
        for row in chosen.drop(columns=AXES).to_dict("records")
    ]
    benchmarks = [{"name": name, "group": about.loc[name, "group"], "metric": about.loc[name, "metric"]}
                  for name in order]  # fmt: skip
    return {"benchmarks": benchmarks, "points": points, "further": _further_lines(context, names)}


def _further_lines(context: Context, benchmarks: Mapping[str, int]) -> list[list[Any]]:
    """The further series' means of the benchmarks that are shown, as reported."""
    datasets = {dataset["name"]: place for place, dataset in enumerate(context.axes["datasets"])}
    lines = []
    for place, series in enumerate(context.study.further):
        reported = series.frame.rows.groupby(["benchmark", "dataset", "prompt_weight", "w_p"])["value"]
        table = reported.agg(["mean", "min", "max", "size"]).reset_index()
        for (benchmark, dataset), rows in table.groupby(["benchmark", "dataset"]):
            if benchmark in benchmarks:
                numbers = rows[["prompt_weight", "w_p", "mean", "min", "max", "size"]].to_numpy(dtype=float)
                points = [json_numbers(row) for row in numbers]
                lines.append([place, benchmarks[str(benchmark)], datasets[str(dataset)], points])
    return lines


def mechanism_data(context: Context) -> MechanismData:
    """The mechanism's measurements, of the variant that is analysed; those that were not taken are left out."""
    study, variant = context.study, context.frame.variant
    places = {cell.cell: index for index, cell in enumerate(study.shown)
              if tuple(getattr(cell, name) for name in VARIANT) == variant}  # fmt: skip
    panels = []
    for benchmark, metric, title, label in MECHANISMS:
        scores = study.scores
        rows = scores[
            (scores["benchmark"] == benchmark) & (scores["metric"] == metric) & scores["cell"].isin(list(places))
        ]
        if len(rows):
            points = [
                [places[row["cell"]], *(json_number(row[name]) for name in ("value", "stderr", "n"))]
                for row in rows.to_dict("records")
            ]
            panels.append({"title": title, "label": label, "points": points})
    return {"panels": panels}


def curves_data(study: Study) -> CurvesData:
    """Training curves; long ones averaged over windows of consecutive steps."""
    places = {cell.cell: index for index, cell in enumerate(study.shown)}
    names, by_cell = ["step", "prompt_loss", "completion_loss", "loss"], study.curves.groupby("cell")
    every_N = np.ceil(by_cell["step"].transform("size") / CURVE_POINTS).astype("int64")
    window_N = by_cell.cumcount() // every_N
    keys = [study.curves["cell"], window_N.rename("window"), every_N.rename("every")]
    means = study.curves[names].astype("float64").groupby(keys).mean().reset_index(level="every")
    made = []
    for cell, rows in means.groupby(level="cell"):
        lists = {name: json_numbers(rows[name].to_list(), 5) for name in names}
        made.append({"cell": places[str(cell)], "every": int(rows["every"].iloc[0])} | lists)
    return {"cells": sorted(made, key=lambda curve: curve["cell"])}


SURFACE_POINTS = 41
"""Weights and ratios of a surface on the page."""


def surface_data(fits: Sequence[RatioFit]) -> list[SurfaceData]:
    """The ratio model of every aggregate that has one: weights evenly spaced in w_p, ratios in their logarithm."""
    made: list[SurfaceData] = []
    for item in fits:
        if item.fit is None:
            continue
        (first, last), (low, high) = item.fit.weight_range, item.fit.ratio_range
        weight_M = np.linspace(weight_scale(first), weight_scale(last), SURFACE_POINTS) ** (1 / EXPONENT)
        found = surface(item.fit, weight_M, np.geomspace(low, high, SURFACE_POINTS))
        made.append(
            {
                "title": item.aggregate,
                "weights": [float(weight) for weight in found.weight_M],
                "ratios": [float(ratio) for ratio in found.ratio_Y],
                "exponent": EXPONENT,
                "weight_ticks": [tick for tick in WEIGHT_TICKS if first <= tick <= last],
                "ratio_ticks": ratio_ticks(float(low), float(high)),
                "values": [[json_number(value) for value in row] for row in found.score_YM],
                "se": [[json_number(value) for value in row] for row in found.error_YM],
            }
        )
    return made


def _bounds(known: pd.DataFrame, kind: str, intervals: pd.DataFrame | None) -> dict[str, Any]:
    """What the bars are, and (low, high) for each row."""
    if intervals is not None:
        chosen = (intervals["unit"] == UNITS[0]) & (intervals["quantity"] == "aggregate")
        rows = intervals[chosen & (intervals["kind"] == kind)]
        found = {
            (row.dataset, row.prompt_weight): [json_number(row.low), json_number(row.high)] for row in rows.itertuples()
        }
        values = [found.get((row.dataset, row.prompt_weight), [None, None]) for row in known.itertuples()]
        return {"text": "95% bootstrap interval over benchmarks and base models", "values": values}
    low, high = known[kind] - known[f"{kind}_se"], known[kind] + known[f"{kind}_se"]
    values = [list(pair) for pair in zip(json_numbers(low), json_numbers(high), strict=True)]
    return {"text": "± 1 standard error over benchmarks, base models and seeds", "values": values}


def _parabola(x: "pd.Series[float]", y: "pd.Series[float]") -> list[float | None] | None:
    if x.nunique() < 4:
        return None
    return json_numbers(np.polynomial.Polynomial.fit(x.to_numpy(), y.to_numpy(), 2).convert().coef)
