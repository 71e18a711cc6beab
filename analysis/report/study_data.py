"""The axes of a study as the page's widgets name them: places in lists stand for names."""

from typing import Any, TypedDict

import pandas as pd

from analysis.figures.theme import dataset_colours, markers
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import VARIANT, weight_scale
from analysis.scores.study import Study


class StudyData(TypedDict):
    """The names that all widgets share; their own data hold places in these lists."""

    datasets: list[dict[str, Any]]
    """``name``, ``colour``, ``shape`` (matplotlib's letter), in the paper's order."""
    models: list[str]
    weights: list[float]
    """Prompt weights, rising."""
    places: list[float]
    """w_p of each weight."""
    cells: list[list[Any]]
    """dataset, model, weight, and what tells cells of the same three apart (empty where nothing has to)."""
    series: list[str]
    """Labels of the further series: other suites, recipes and judges."""


def study_data(study: Study) -> StudyData:
    """Datasets, base models and weights of a study, and where each of its cells stands among them."""
    datasets = dataset_order(cell.dataset for cell in study.cells)
    models = sorted({cell.model for cell in study.cells})
    weights = sorted({cell.prompt_weight for cell in study.cells})
    colours, shapes = dataset_colours(datasets), markers(datasets)
    labels = cell_labels(study)
    return {
        "datasets": [{"name": name, "colour": colours[name], "shape": shapes[name]} for name in datasets],
        "models": models,
        "weights": weights,
        "places": [float(place) for place in weight_scale(pd.Series(weights))],
        "cells": [
            [datasets.index(cell.dataset), models.index(cell.model), weights.index(cell.prompt_weight), label]
            for cell, label in zip(study.shown, labels, strict=True)
        ],
        "series": [series.label for series in study.further],
    }


def cell_labels(study: Study) -> list[str]:
    """What tells each cell apart from others of its dataset, model and weight: the axes that vary, in words."""
    varying = [name for name in (*VARIANT, "seed") if len({getattr(cell, name) for cell in study.cells}) > 1]
    return [", ".join(_label(name, getattr(cell, name)) for name in varying) for cell in study.shown]


def _label(name: str, value: object) -> str:
    if isinstance(value, int | float):
        return f"{name.replace('_weight', '').replace('_', ' ')} {value:g}"
    return str(value)
