"""The state of every cell of a study's grid, as the page shows it."""

from typing import Any, TypedDict

from analysis.report.context import Context
from analysis.report.json_values import json_number
from analysis.scores.frame import AXES, VARIANT
from plw.registry.rows import CellRow
from plw.registry.schema import DONE, FAILED, RUNNING


class GridData(TypedDict):
    """The grid as rows of cells, a column a weight."""

    benchmarks: int
    rows: list[dict[str, Any]]
    """``dataset``, ``model``, ``rest`` (seed and variant where they differ) and ``points``, one for each weight:
    ``state`` (complete, partial, running, failed, missing, none), ``lacks`` (benchmarks without a score) and ``stages``
    (name, status, seconds, attempts, error)."""


def grid_data(context: Context) -> GridData:
    """State of every point of the grid: its stages, and the benchmarks that it lacks."""
    study, axes = context.study, context.axes
    measured = _measured(context)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell, (dataset, model, weight, label) in zip(study.shown, axes["cells"], strict=True):
        # The analysis asks for every weight of its own variant; another may have fewer, as (0, 0) is no loss.
        absent = "missing" if _is_shown(context, cell) else "none"
        points = [{"state": absent, "lacks": [], "stages": []} for _ in axes["weights"]]
        row = rows.setdefault(
            (dataset, model, label), {"dataset": dataset, "model": model, "rest": label, "points": points}
        )
        has = measured.get(cell.cell, set())
        stages = study.stages_of(cell)
        lacks = sorted(set(context.groups) - has)
        row["points"][weight] = {
            "state": _state({stage.status for stage in stages}, bool(lacks), bool(has)),
            "lacks": lacks,
            "stages": [[s.name, s.status, json_number(s.seconds), s.attempts, s.error] for s in stages],
        }
    return {"benchmarks": len(context.groups), "rows": [rows[key] for key in sorted(rows)]}


def _measured(context: Context) -> dict[str, set[str]]:
    """Cell -> benchmarks with a headline score.

    Cells of variants that the analysis leaves out are looked up in the scores, the others in the frame.
    """
    study, frame = context.study, context.frame
    scored = frame.rows.groupby(AXES)["benchmark"].agg(set).to_dict()
    headline = study.scores[study.scores["headline"].fillna(value=False)]
    reported = headline.groupby("cell")["benchmark"].agg(set).to_dict()
    found = {}
    for cell in study.shown:
        key = tuple(getattr(cell, name) for name in AXES)
        analysed = _is_shown(context, cell) or key in scored
        found[cell.cell] = scored.get(key, set()) if analysed else reported.get(cell.cell, set())
    return found


def _is_shown(context: Context, cell: CellRow) -> bool:
    """Whether a cell is of the variant that the analysis is of."""
    return tuple(getattr(cell, name) for name in VARIANT) == context.frame.variant


def _state(states: set[str], lacking: bool, measured: bool) -> str:
    if FAILED in states:
        return "failed"
    if RUNNING in states:
        return "running"
    if not lacking:
        return "complete"
    return "partial" if measured or DONE in states else "missing"
