"""Section 6 of the paper for a study: the ratio model of three aggregates, and Table 4, the best weight by ratio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.gam.fit import KNOTS, GamFit, fit_gam
from analysis.gam.optimum import DRAWS, LEVEL, STAR, Optimum, optima
from analysis.scores.frame import TidyFrame
from analysis.scores.published import SOURCE, TABLE_4
from analysis.tables.paper import Table
from plw.errors import UserError

AGGREGATES: dict[str, tuple[str, ...] | None] = {
    "all": None,
    "multiple choice": ("multiple_choice",),
    "generation": ("short_generation", "long_generation"),
}
"""Aggregate -> its groups of benchmarks; None is all of them. Generation is without translation, as in the paper."""

RATIOS = tuple(half / 2 for half in range(16, 0, -1))
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
    optima: tuple[Optimum, ...] = ()
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


def table_4(fits: Sequence[RatioFit]) -> Table:
    """Table 4: the best weight by generation ratio, with its interval, beside the published one."""
    raw = pd.DataFrame(
        [_row(item.aggregate, ratio, {o.ratio: o for o in item.optima}) for item in fits for ratio in RATIOS]
    )
    rows = []
    for ratio in RATIOS:
        row = {"R_g": f"{ratio:.1f}"}
        for item in fits:
            found = next((o for o in item.optima if o.ratio == ratio), None)
            row[item.aggregate] = optimum_words(found)
            row[f"{item.aggregate}, paper"] = _published_words(item.aggregate, ratio)
        rows.append(row)
    return Table(
        key="table4_optima",
        title="Table 4. Best prompt weight by generation ratio",
        raw=raw,
        shown=pd.DataFrame(rows),
        caption=_caption(fits),
    )


def optimum_words(found: Optimum | None) -> str:
    """``0.155 [0.08, 0.31]``, ``* 0.2 [0, 1]`` where starred, a dash where there is none."""
    if found is None:
        return "–"
    return f"{'* ' * found.starred}{found.plw:.3g} [{found.low:.2g}, {found.high:.2g}]"


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
    inside = [ratio for ratio in RATIOS if low <= ratio <= high]
    return RatioFit(aggregate=aggregate, fit=fit, points=points, optima=tuple(optima(fit, inside)))


def _row(aggregate: str, ratio: float, found: Mapping[float, Optimum]) -> dict[str, object]:
    ours, printed = found.get(ratio), TABLE_4[aggregate]
    return {
        "aggregate": aggregate,
        "r_g": ratio,
        "optimum": ours.plw if ours else np.nan,
        "low": ours.low if ours else np.nan,
        "high": ours.high if ours else np.nan,
        "interval_over": ours.over if ours else None,
        "score_low": ours.score_low if ours else np.nan,
        "score_high": ours.score_high if ours else np.nan,
        "predicted_range": ours.predicted_range if ours else np.nan,
        "starred": ours.starred if ours else None,
        "published": printed.get(ratio),
        "published_starred": printed[ratio] is None if ratio in printed else None,
    }


def _published_words(aggregate: str, ratio: float) -> str:
    if ratio not in TABLE_4[aggregate]:
        return "–"
    value = TABLE_4[aggregate][ratio]
    return "*" if value is None else f"{value:.3g}"


def _caption(fits: Sequence[RatioFit]) -> str:
    fitted = [item.fit for item in fits if item.fit is not None]
    sentences = [
        f"Weight at the top of score ~ te(PLW, R_g, k=3) + benchmark, with the {LEVEL:.0%} interval of its place "
        f"({DRAWS:,} draws of the coefficients, benchmarks taken for independent). A star: the predicted range over "
        f"the weights is under {STAR:.0%} of the scores' range, so the weight hardly matters. A dash: outside of the "
        "data's ratios."
    ]
    if fitted:
        low, high = fitted[0].ratio_range
        method = fitted[0].method
        fits_in_words = "; ".join(
            f"{item.aggregate}: {item.fit.n} scores of {len(item.fit.benchmarks)} benchmarks, "
            f"{item.fit.edf_surface:.1f} of 8 degrees of freedom"
            for item in fits
            if item.fit is not None
        )
        sentences.append(f"Smoothing by {method.upper()}, ratios {low:.3g} to {high:.3g}; {fits_in_words}.")
    sentences += [f"No model of {item.aggregate}: {item.refusal}." for item in fits if item.fit is None]
    sentences.append(f"Published: Table 4 of {SOURCE}; there a star stands without a weight.")
    return " ".join(sentences)
