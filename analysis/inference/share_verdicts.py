"""Verdicts by kind of benchmark over the prompt's share λ_p / (λ_p + λ_r), as ``verdicts`` makes them over λ_p.

The curve is a parabola in the share, and cells of one ratio are averaged; training on the prompt alone (share 1) is
left out. In the verdicts a weight is a share, and weight 0 is λ_p = 0.
"""

from dataclasses import replace
from typing import Any

import pandas as pd

from analysis.inference.verdicts import ScopeVerdict, scope_verdicts
from analysis.published.wit_grid import read_wit_grid
from analysis.published.wit_weights import KIND_BENCHMARKS
from analysis.scores.frame import TidyFrame, weight_scale


def share_verdicts(rows: pd.DataFrame) -> list[ScopeVerdict]:
    """Every dataset's verdicts: all benchmarks, the kinds, the benchmarks.

    Args:
        rows: As ``TidyFrame.rows`` has them, of every response weight.
    """
    kept = rows[rows["response_weight"] > 0]
    share = (kept["prompt_weight"] / (kept["prompt_weight"] + kept["response_weight"])).round(6)
    if share.nunique() < 2:
        return []
    frame = TidyFrame(rows=kept.assign(w_p=share), missing=rows.head(0), notes=())
    return [_as_share(verdict) for verdict in scope_verdicts(frame)]


def _as_share(verdict: ScopeVerdict) -> ScopeVerdict:
    """Verdicts name weights, λ of which w_p = λ ** 0.30103; here the share stood in the place of w_p."""
    names = ("from_weight", "best_weight", "lowest_weight", "best_low", "best_high")
    found: dict[str, Any] = {name: getattr(verdict, name) for name in names}
    shares: dict[str, Any] = {name: None if value is None else weight_scale(value) for name, value in found.items()}
    return replace(verdict, **shares)


def published_rows() -> pd.DataFrame:
    """The published grid's scores as ``TidyFrame.rows`` has them."""
    grid = read_wit_grid()
    kinds = {name: kind for kind, names in KIND_BENCHMARKS.items() if kind != "all" for name in names}
    rows = grid[grid["benchmark"].isin(list(kinds))]
    return rows.assign(
        seed=0, group=rows["benchmark"].map(kinds), metric="win_rate", value=rows["score"], score01=rows["score"] / 100
    )
