"""The numbers behind the page's widgets, as plain JSON values with documented keys; missing is None, never 0.

Places in lists stand for names: ``cell`` is a place in ``StudyData.cells``, ``dataset`` and ``weight`` places in the
lists of the same object.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from analysis.figures.theme import dataset_colours, markers
from analysis.gam.surface import surface
from analysis.inference.ratio_model import RatioFit
from analysis.report.parts import Material
from analysis.scores.aggregates import KINDS, aggregates
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import AXES, EXPONENT, VARIANT, TidyFrame, weight_scale
from analysis.scores.mechanism import MECHANISMS
from analysis.scores.study import Study
from plw.registry.rows import CellRow
from plw.registry.schema import DONE, FAILED, RUNNING

CURVE_POINTS = 160
"""Points of a training curve on the page at most; a longer one is averaged over windows of equal length."""

_ESCAPED = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


class StudyData(TypedDict):
    """What all widgets share."""

    datasets: list[dict[str, Any]]
    """``name``, ``colour``, ``shape`` (matplotlib's letter), in the paper's order."""
    models: list[str]
    weights: list[float]
    """Prompt weights, rising."""
    places: list[float]
    """w_p of each weight."""
    cells: list[list[Any]]
    """dataset, model, weight, and what tells cells of the same three apart (empty where nothing has to)."""


class GridData(TypedDict):
    """The grid and what it lacks."""

    benchmarks: int
    rows: list[dict[str, Any]]
    """``dataset``, ``model``, ``rest`` (seed and variant where they differ) and ``points``, one for each weight:
    ``state`` (complete, partial, running, failed, missing), ``lacks`` (benchmarks without a score) and ``stages``
    (name, status, seconds, attempts, error)."""


class ScoresData(TypedDict):
    """Aggregates by weight, for all models and each, all benchmarks and each group."""

    kinds: list[str]
    groups: list[str]
    series: list[dict[str, Any]]
    """``group`` and ``model`` (empty: all), ``dataset``, ``kind``, ``bars`` (what the intervals are), ``points``
    (weight, value, low, high, cells) and ``curve`` (c0, c1, c2 of a parabola in w_p, or None)."""


class BenchmarksData(TypedDict):
    """Headline scores."""

    benchmarks: list[dict[str, Any]]
    """``name``, ``group``, ``metric``."""
    points: list[list[Any]]
    """benchmark, cell, value and standard error as reported, n."""


class MechanismData(TypedDict):
    """The four measurements of the mechanism."""

    panels: list[dict[str, Any]]
    """``title``, ``label`` and ``points`` (cell, value, standard error, n)."""


class CurvesData(TypedDict):
    """Training curves."""

    cells: list[dict[str, Any]]
    """``cell``, ``every`` (steps averaged into a point), and lists of equal length: ``step``, ``prompt_loss``,
    ``completion_loss`` (nats a token, unweighted) and ``loss`` (weighted)."""


class SurfaceData(TypedDict):
    """A fitted score over weight and generation ratio."""

    title: str
    weights: list[float]
    ratios: list[float]
    values: list[list[float | None]]
    """One row for each ratio, one column for each weight."""
    se: list[list[float | None]]


def study_data(study: Study) -> StudyData:
    """The axes of a study and its cells."""
    datasets = dataset_order(cell.dataset for cell in study.cells)
    models = sorted({cell.model for cell in study.cells})
    weights = sorted({cell.prompt_weight for cell in study.cells})
    colours, shapes = dataset_colours(datasets), markers(datasets)
    rest = _rest(study)
    return {
        "datasets": [{"name": name, "colour": colours[name], "shape": shapes[name]} for name in datasets],
        "models": models,
        "weights": weights,
        "places": [float(place) for place in weight_scale(pd.Series(weights))],
        "cells": [
            [datasets.index(cell.dataset), models.index(cell.model), weights.index(cell.prompt_weight), rest(cell)]
            for cell in study.cells
        ],
    }


def grid_data(material: Material) -> GridData:
    """State of every point of the grid."""
    study, frame = material.study, material.frame
    axes = study_data(study)
    scored = frame.rows.groupby(AXES)["benchmark"].agg(set).to_dict()
    rest = _rest(study)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell, (dataset, model, weight, *_) in zip(study.cells, axes["cells"], strict=True):
        row = rows.setdefault(
            (dataset, model, rest(cell)),
            {"dataset": dataset, "model": model, "rest": rest(cell), "points": [_absent() for _ in axes["weights"]]},
        )
        measured = _measured(cell, frame, scored, study)
        stages = study.stages_of(cell)
        states = {stage.status for stage in stages}
        lacks = sorted(set(material.groups) - measured)
        row["points"][weight] = {
            "state": _state(states, bool(lacks), bool(measured)),
            "lacks": lacks,
            "stages": [[s.name, s.status, _number(s.seconds), s.attempts, s.error] for s in stages],
        }
    return {"benchmarks": len(material.groups), "rows": [rows[key] for key in sorted(rows)]}


def scores_data(frame: TidyFrame, study: Study, intervals: pd.DataFrame | None = None) -> ScoresData:
    """Aggregates by weight.

    Args:
        frame: the tidy frame.
        study: the study, for the places of names.
        intervals: rows ``dataset``, ``prompt_weight``, ``kind``, ``quantity`` (those named ``aggregate`` are taken),
            ``low``, ``high`` over all models and benchmarks, to be shown there in place of standard errors.
    """
    rows, axes = frame.rows, study_data(study)
    names = [dataset["name"] for dataset in axes["datasets"]]
    groups = [group for group in dict.fromkeys(frame.rows["group"]) if rows["group"].nunique() > 1]
    series = []
    for group in ["", *groups]:
        for model in ["", *(axes["models"] if len(axes["models"]) > 1 else [])]:
            chosen = rows[((rows["group"] == group) | (group == "")) & ((rows["model"] == model) | (model == ""))]
            table = aggregates(TidyFrame(rows=chosen, missing=frame.missing, notes=()))
            for dataset, of_dataset in table.groupby("dataset"):
                for kind in KINDS:
                    known = of_dataset.dropna(subset=[kind])
                    bounds = _bounds(known, kind, intervals if group == model == "" else None)
                    points = [
                        [axes["weights"].index(row["prompt_weight"]), _number(row[kind]), *bound, row["cells"]]
                        for row, bound in zip(known.to_dict("records"), bounds["values"], strict=True)
                    ]
                    series.append({
                        "group": group, "model": model, "dataset": names.index(dataset), "kind": kind,
                        "bars": bounds["text"], "points": points, "curve": _parabola(known["w_p"], known[kind]),
                    })  # fmt: skip
    return {"kinds": list(KINDS), "groups": groups, "series": series}


def benchmarks_data(frame: TidyFrame, study: Study) -> BenchmarksData:
    """Headline scores of the variant that is analysed, as reported."""
    rows = frame.rows
    about = rows.groupby("benchmark", sort=False).agg(group=("group", "first"), metric=("metric", "first"))
    order = list(dict.fromkeys(rows.sort_values(["group", "benchmark"])["benchmark"]))
    points = [
        [order.index(row["benchmark"]), study.place[tuple(row[name] for name in AXES)], _number(row["value"]),
         _number(row["stderr"]), _number(row["n"])]
        for row in rows.to_dict("records")
        if tuple(row[name] for name in AXES) in study.place
    ]  # fmt: skip
    benchmarks = [{"name": name, "group": about.loc[name, "group"], "metric": about.loc[name, "metric"]}
                  for name in order]  # fmt: skip
    return {"benchmarks": benchmarks, "points": points}


def mechanism_data(frame: TidyFrame, study: Study) -> MechanismData:
    """The mechanism's measurements, of the variant that is analysed; those that were not taken are left out."""
    variant = [frame.rows[name].iloc[0] for name in VARIANT]
    places = {cell.cell: index for index, cell in enumerate(study.cells)
              if [getattr(cell, name) for name in VARIANT] == variant}  # fmt: skip
    panels = []
    for benchmark, metric, title, label in MECHANISMS:
        scores = study.scores
        rows = scores[
            (scores["benchmark"] == benchmark) & (scores["metric"] == metric) & scores["cell"].isin(list(places))
        ]
        if len(rows):
            points = [[places[row["cell"]], _number(row["value"]), _number(row["stderr"]), _number(row["n"])]
                      for row in rows.to_dict("records")]  # fmt: skip
            panels.append({"title": title, "label": label, "points": points})
    return {"panels": panels}


def curves_data(study: Study) -> CurvesData:
    """Training curves; long ones averaged over windows of consecutive steps."""
    places = {cell.cell: index for index, cell in enumerate(study.cells)}
    made = []
    for cell, rows in study.curves.groupby("cell"):
        every = math.ceil(len(rows) / CURVE_POINTS)
        names = ["step", "prompt_loss", "completion_loss", "loss"]
        means = rows[names].astype("float64").groupby(np.arange(len(rows)) // every).mean()
        made.append({"cell": places[str(cell)], "every": every} | {name: _numbers(means[name], 5) for name in names})
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
        weight_M = np.linspace(first**EXPONENT, last**EXPONENT, SURFACE_POINTS) ** (1 / EXPONENT)
        found = surface(item.fit, weight_M, np.geomspace(low, high, SURFACE_POINTS))
        made.append(
            {
                "title": item.aggregate,
                "weights": [float(weight) for weight in found.weight_M],
                "ratios": [float(ratio) for ratio in found.ratio_Y],
                "values": [[_number(value) for value in row] for row in found.score_YM],
                "se": [[_number(value) for value in row] for row in found.error_YM],
            }
        )
    return made


def script_json(value: Any) -> str:
    """JSON for the inside of a script element: nothing in it can end the element, open a comment or break a line."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _rest(study: Study) -> Any:
    """What tells cells of one dataset, model and weight apart: the axes that vary, in words."""
    varying = [name for name in (*VARIANT, "seed") if len({getattr(cell, name) for cell in study.cells}) > 1]

    def words(cell: CellRow) -> str:
        values = [(name, getattr(cell, name)) for name in varying]
        return ", ".join(
            f"{name.replace('_weight', '').replace('_', ' ')} {value:g}"
            if isinstance(value, int | float)
            else str(value)
            for name, value in values
        )

    return words


def _measured(cell: CellRow, frame: TidyFrame, scored: dict[Any, set[str]], study: Study) -> set[str]:
    """Benchmarks with a headline score; cells of variants that the analysis leaves out are looked up in the scores."""
    key = tuple(getattr(cell, name) for name in AXES)
    if key in scored:
        return scored[key]
    if tuple(getattr(cell, name) for name in VARIANT) == tuple(frame.rows[name].iloc[0] for name in VARIANT):
        return set()
    scores = study.scores
    return set(scores.loc[(scores["cell"] == cell.cell) & scores["headline"].fillna(value=False), "benchmark"])


def _state(states: set[str], lacking: bool, measured: bool) -> str:
    if FAILED in states:
        return "failed"
    if RUNNING in states:
        return "running"
    if not lacking:
        return "complete"
    return "partial" if measured or DONE in states else "missing"


def _absent() -> dict[str, Any]:
    return {"state": "missing", "lacks": [], "stages": []}


def _bounds(known: pd.DataFrame, kind: str, intervals: pd.DataFrame | None) -> dict[str, Any]:
    """What the bars are, and (low, high) for each row."""
    if intervals is not None:
        rows = intervals[(intervals["kind"] == kind) & (intervals["quantity"] == "aggregate")]
        found = {(row.dataset, row.prompt_weight): [_number(row.low), _number(row.high)] for row in rows.itertuples()}
        values = [found.get((row.dataset, row.prompt_weight), [None, None]) for row in known.itertuples()]
        return {"text": "95% bootstrap interval over benchmarks and base models", "values": values}
    low, high = known[kind] - known[f"{kind}_se"], known[kind] + known[f"{kind}_se"]
    values = [list(pair) for pair in zip(_numbers(low), _numbers(high), strict=True)]
    return {"text": "± 1 standard error over benchmarks, base models and seeds", "values": values}


def _parabola(x: "pd.Series[float]", y: "pd.Series[float]") -> list[float | None] | None:
    if x.nunique() < 4:
        return None
    return _numbers(np.polynomial.Polynomial.fit(x.to_numpy(), y.to_numpy(), 2).convert().coef)


def _numbers(values: Sequence[float] | Any, digits: int = 6) -> list[float | None]:
    return [_number(value, digits) for value in values]


def _number(value: Any, digits: int = 6) -> float | int | None:
    """A whole number as it is, any other to so many significant digits; None for what is missing or infinite."""
    if value is None or pd.isna(value) or not math.isfinite(value):
        return None
    short = float(value) if float(value).is_integer() else float(f"{float(value):.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
