"""The rows that the analysis reads of a registry: few columns of many rows, so that a large study fits in memory."""

from collections.abc import Sequence

import pandas as pd
from sqlalchemy import and_, or_, select

from analysis.scores.mechanism import MECHANISMS, PREFERENCE_BENCHMARK, SENSITIVITY_BENCHMARK
from plw.registry.rows import CellRow
from plw.registry.schema import DONE, curves, scores, stages
from plw.registry.store import Registry

ABOUT_CELL = (
    "dataset",
    "model",
    "prompt_weight",
    "response_weight",
    "normalizer",
    "scope",
    "weighting",
    "recipe",
    "seed",
    "r_g",
)
SCORE_COLUMNS = (
    "cell",
    "suite",
    "benchmark",
    "metric",
    "judge",
    "value",
    "stderr",
    "n",
    "headline",
    "higher_is_better",
)
CURVE_COLUMNS = ("cell", "step", "loss", "prompt_loss", "completion_loss")


def score_rows(registry: Registry, study: str, scale: str, cells: Sequence[CellRow]) -> pd.DataFrame:
    """Headline scores and the measurements that the report shows, of finished stages, beside their cell.

    Returns:
        ``ABOUT_CELL``, ``SCORE_COLUMNS`` and ``finished`` (when the stage ended), in the order of the cells.
    """
    s = scores.c
    measured = sorted({SENSITIVITY_BENCHMARK, PREFERENCE_BENCHMARK, *(benchmark for benchmark, *_ in MECHANISMS)})
    of_stage = and_(*(stages.c[name] == s[name] for name in ("study", "scale", "cell")), stages.c.name == s.stage)
    query = (
        select(*(s[name] for name in SCORE_COLUMNS), stages.c.finished)
        .join_from(scores, stages, and_(of_stage, stages.c.status == DONE))
        .where(s.study == study, s.scale == scale, or_(s.headline, s.benchmark.in_(measured)))
    )
    rows = registry.frame(query)
    places = {cell.cell: place for place, cell in enumerate(cells)}
    rows = rows[rows["cell"].isin(list(places))]
    place_N = rows["cell"].map(places).to_numpy(dtype="int64")
    about = {name: pd.Series([getattr(cell, name) for cell in cells]) for name in ABOUT_CELL}
    about["r_g"] = about["r_g"].astype("float64")
    columns = {name: values.take(place_N).set_axis(rows.index) for name, values in about.items()}
    order = ["suite", "benchmark", "metric", "judge"]
    sorted_rows = rows.assign(place=place_N).sort_values(["place", *order]).drop(columns="place")
    return pd.DataFrame(columns).loc[sorted_rows.index].join(sorted_rows).reset_index(drop=True)


def curve_rows(registry: Registry, study: str, scale: str, cells: Sequence[CellRow]) -> pd.DataFrame:
    """Every training step of some cells: ``CURVE_COLUMNS``, ordered by cell and step."""
    c, names = curves.c, [cell.cell for cell in cells]
    query = select(*(c[name] for name in CURVE_COLUMNS)).where(c.study == study, c.scale == scale, c.cell.in_(names))
    return registry.frame(query).sort_values(["cell", "step"], ignore_index=True)
