"""Table 4: the best prompt weight by generation ratio, beside the published one."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.gam.optimum import OPTIMUM_DRAWS, STAR, RatioOptimum
from analysis.inference.ratio_model import TABLE_4_RATIOS, RatioFit
from analysis.levels import CONFIDENCE
from analysis.scores.published import PAPER, TABLE_4
from analysis.tables.table import Table


def table_4(fits: Sequence[RatioFit]) -> Table:
    """Table 4: the best weight by generation ratio, with its interval, beside the published one."""
    raw = pd.DataFrame(
        [_row(item.aggregate, ratio, {o.ratio: o for o in item.optima}) for item in fits for ratio in TABLE_4_RATIOS]
    )
    rows = []
    for ratio in TABLE_4_RATIOS:
        row = {"R_g": f"{ratio:.1f}"}
        for item in fits:
            found = next((o for o in item.optima if o.ratio == ratio), None)
            row[item.aggregate] = optimum_text(found)
            row[f"{item.aggregate}, paper"] = _published_text(item.aggregate, ratio)
        rows.append(row)
    return Table(
        key="table4_optima",
        title="Table 4. Best prompt weight by generation ratio",
        raw=raw,
        shown=pd.DataFrame(rows),
        caption=_caption(fits),
    )


def optimum_text(found: RatioOptimum | None) -> str:
    """``0.155 [0.08, 0.31]``, ``* 0.2 [0, 1]`` where starred, a dash where there is none."""
    if found is None:
        return "–"
    return f"{'* ' * found.starred}{found.plw:.3g} [{found.low:.2g}, {found.high:.2g}]"


def _row(aggregate: str, ratio: float, found: Mapping[float, RatioOptimum]) -> dict[str, object]:
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


def _published_text(aggregate: str, ratio: float) -> str:
    if ratio not in TABLE_4[aggregate]:
        return "–"
    value = TABLE_4[aggregate][ratio]
    return "*" if value is None else f"{value:.3g}"


def _caption(fits: Sequence[RatioFit]) -> str:
    fitted = [item.fit for item in fits if item.fit is not None]
    sentences = [
        f"Weight at the top of score ~ te(PLW, R_g, k=3) + benchmark, with the {CONFIDENCE:.0%} interval of its "
        f"place ({OPTIMUM_DRAWS:,} draws of the coefficients, benchmarks taken for independent). A star: the predicted "
        f"range over the weights is under {STAR:.0%} of the scores' range, so the weight hardly matters. A dash: "
        "outside of the data's ratios."
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
    sentences.append(f"Published: Table 4 of {PAPER}; there a star stands without a weight.")
    return " ".join(sentences)
