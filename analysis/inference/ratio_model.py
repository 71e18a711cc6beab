"""Section 6 of the paper for a study: the ratio model of three aggregates, and Table 4, the best weight by ratio."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.gam.fit import KNOTS, GamFit, fit_gam
from analysis.gam.optimum import RatioOptimum, optima
from analysis.scores.frame import TidyFrame
from plw.errors import UserError

AGGREGATES: dict[str, tuple[str, ...] | None] = {
    "all": None,
    "multiple choice": ("multiple_choice",),
    "generation": ("short_generation", "long_generation"),
}
"""Aggregate -> its groups of benchmarks; None is all of them. Generation is without translation, as in the paper."""

TABLE_4_RATIOS = tuple(half / 2 for half in range(16, 0, -1))
"""The rows of Table 4: 8.0 down to 0.5."""

SCORE = "scaled"
"""The score that is fitted: min-max scaled within dataset and benchmark, as in the regression of Table 3 (ours: the
paper does not say)."""


@dataclass(frozen=True, kw_only=True)
class RatioFit:
    """The ratio model of one aggregate, or the reason why there is none."""

    aggregate: str
    fit: GamFit | None
    refusal: str = ""
    points: pd.DataFrame
    """What was observed: ``dataset``, ``prompt_weight``, ``r_g``, ``score`` (mean of the rows there) and ``n``."""
    optima: tuple[RatioOptimum, ...] = ()
    """At the rows of Table 4 that lie within the data's ratios."""


def ratio_fits(frame: TidyFrame, *, method: str = "gcv") -> list[RatioFit]:
    """Fit the three aggregates of a study.

    Args:
        frame: the tidy frame; rows without a scaled score or without R_g are left out.
        method: see ``fit_gam``.
    """
    known = frame.rows.dropna(subset=[SCORE, "r_g"])
    return [
        _fitted(name, known if groups is None else known[known["group"].isin(groups)], method)
        for name, groups in AGGREGATES.items()
    ]


def optima_by_ratio(fits: Sequence[RatioFit]) -> dict[str, dict[float, float | None]]:
    """Aggregate -> R_g -> optimum, None where starred: the form of ``published.TABLE_4``. Without a fit: nothing."""
    return {
        item.aggregate: {found.ratio: None if found.starred else found.plw for found in item.optima}
        for item in fits
        if item.fit is not None
    }


def _fitted(aggregate: str, rows: pd.DataFrame, method: str) -> RatioFit:
    points = rows.groupby(["dataset", "prompt_weight", "r_g"], as_index=False).agg(
        score=(SCORE, "mean"), n=(SCORE, "size")
    )
    datasets = rows.groupby("dataset")["r_g"].mean()
    # Several tokenizers give a dataset several ratios, which are no evidence of how ratios differ.
    if datasets.round(6).nunique() < KNOTS:
        found = ", ".join(f"{name} {ratio:.3g}" for name, ratio in datasets.sort_values().items()) or "none"
        refusal = f"the ratio model needs datasets of {KNOTS} different generation ratios or more; found {found}"
        return RatioFit(aggregate=aggregate, fit=None, refusal=refusal, points=points)
    try:
        fit = fit_gam(
            rows[SCORE].to_numpy(), rows["prompt_weight"].to_numpy(), rows["r_g"].to_numpy(), list(rows["benchmark"]),
            method=method,
        )  # fmt: skip
    except UserError as error:
        return RatioFit(aggregate=aggregate, fit=None, refusal=str(error), points=points)
    low, high = fit.ratio_range
    inside = [ratio for ratio in TABLE_4_RATIOS if low <= ratio <= high]
    return RatioFit(aggregate=aggregate, fit=fit, points=points, optima=tuple(optima(fit, inside)))
