"""The tidy frame: one row per cell and benchmark, on the paper's scales; what is missing is listed and never filled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from plw.errors import UserError
from plw.registry.rows import CellRow

EXPONENT = 0.30103
"""w_p = PLW ** 0.30103 (PLW paper, section 5.1): 0.1 becomes 0.5, 0.01 becomes 0.25."""

PERCENT_METRICS = frozenset(
    {"bleu", "chrf", "ter", "win_rate", "discrete_win_rate", "length_controlled_winrate", "lc_win_rate",
     "bleu_max", "rouge1_max", "rouge2_max", "rougeL_max"}
)  # fmt: skip
"""Metrics that are reported from 0 to 100; they are divided by 100. All others are taken as they are."""

AXES = ("dataset", "model", "prompt_weight", "response_weight", "normalizer", "scope", "seed")
"""What defines a cell within a study and scale. An export has no normalizer and scope: they are empty there."""


@dataclass(frozen=True, kw_only=True)
class TidyFrame:
    """Headline scores of one study.

    Columns of ``rows``: the axes, ``r_g``, ``suite``, ``benchmark``, ``group``, ``metric``, ``value`` and ``stderr`` as reported,
    ``n``, ``w_p``, ``score01`` (value on 0 to 1, higher is better), ``scaled`` (min-max within dataset x benchmark, NaN
    where all scores are the same). Columns of ``holes``: the axes, ``benchmark``.
    """

    rows: pd.DataFrame
    holes: pd.DataFrame
    notes: tuple[str, ...]


def tidy_frame(
    scores: pd.DataFrame, groups: Mapping[str, str], cells: Sequence[CellRow] | None = None
) -> TidyFrame:
    """Choose the headline scores of the benchmarks in ``groups`` and put them on common scales.

    Args:
        scores: ``Registry.scores_frame()`` or ``read_export(...)`` of one study and scale.
        groups: benchmark -> group (``multiple_choice``, ``short_generation``, ``translation``, ``long_generation``).
        cells: cells of the registry, so that one without any score is missed too.

    Raises:
        UserError: no headline score, two for one cell and benchmark, or a value outside its metric's range.
    """
    if scores.empty or not bool(scores["headline"].any()):
        raise UserError("no headline scores to analyse; run the study first")
    rows = scores[scores["headline"].astype(bool)].copy()
    for name in ("normalizer", "scope"):
        if name not in rows:
            rows[name] = ""
    notes = []
    unknown = sorted(set(rows["benchmark"]) - set(groups))
    if unknown:
        notes.append(f"Left out, because the suite does not name them: {', '.join(unknown)}.")
        rows = rows[rows["benchmark"].isin(set(groups))]
    rows, variant_notes = _one_variant(rows)
    notes += variant_notes
    _refuse_duplicates(rows)
    rows["group"] = rows["benchmark"].map(dict(groups))
    rows["w_p"] = rows["prompt_weight"] ** EXPONENT
    rows["score01"] = [_unit(*row) for row in rows[["benchmark", "metric", "value", "higher_is_better"]].itertuples(index=False)] if "higher_is_better" in rows else [
        _unit(*row, None) for row in rows[["benchmark", "metric", "value"]].itertuples(index=False)
    ]
    rows["scaled"] = min_max(rows)
    for dataset, benchmark in _constant(rows):
        notes.append(f"{benchmark} on {dataset} has the same score in every cell: it has no place on the relative scale.")
    columns = [*AXES, "r_g", "suite", "benchmark", "group", "metric", "value", "stderr", "n", "w_p", "score01", "scaled"]
    rows = rows[columns].sort_values([*AXES, "benchmark"], ignore_index=True)
    holes = find_holes(rows, sorted(groups), cells)
    return TidyFrame(rows=rows, holes=holes, notes=tuple(notes))
