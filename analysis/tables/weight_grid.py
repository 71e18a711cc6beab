"""Tables of a grid over both weights, of one's own runs or published: what is shown, and how surely."""

from collections.abc import Sequence

import pandas as pd

from analysis.inference.held_out_choice import HeldOutGain
from analysis.inference.verdicts import ScopeVerdict, VerdictScope
from analysis.inference.weight_correlations import NAME_OF_LEVEL, Correlations
from analysis.inference.weight_ratio import MagnitudeTest, RatioGains
from analysis.inference.weight_regions import CellError, PanelRegion, good_in
from analysis.inference.weight_surface import UNWEIGHTED, WeightSurface
from analysis.published.wit_grid import CONVENTIONAL
from analysis.tables.published_wit import pair_text
from analysis.tables.table import Table, interval_text, number, p_value
from plw.progress import count

PAIR = "(λ_p, λ_r)"
GOOD = {True: "as good", False: "below", None: "–"}


def regions_table(regions: Sequence[PanelRegion], error: CellError) -> Table:
    """The region of each panel."""
    raw = pd.DataFrame(
        [
            {
                "dataset": region.dataset, "model": region.model,
                "prompt_weight": region.best[0], "response_weight": region.best[1],
                "gain": region.best_gain, "deviation": region.deviation, "margin": region.margin,
                "good": len(region.good), "cells": len(region.looked_at),
                "usual_is_good": region.holds(CONVENTIONAL), "unweighted_is_good": region.holds(UNWEIGHTED),
                "good_pairs": " ".join(pair_text(pair).replace(" ", "") for pair in region.good),
            }
            for region in regions
        ]
    )  # fmt: skip
    shown = pd.DataFrame(
        {
            "dataset": raw["dataset"],
            "model": raw["model"],
            "best": [pair_text(region.best) for region in regions],
            "gain": raw["gain"].map(lambda value: number(value, 2)),
            "error": raw["deviation"].map(lambda value: number(value, 2)),
            "margin": raw["margin"].map(lambda value: number(value, 2)),
            "as good": [f"{len(region.good)} of {len(region.looked_at)}" for region in regions],
            "(0, 1)": [GOOD[region.holds(CONVENTIONAL)] for region in regions],
            "(1, 1)": [GOOD[region.holds(UNWEIGHTED)] for region in regions],
        }
    )
    return Table(
        key="wit_regions",
        title="Regions of good weights",
        raw=raw,
        shown=shown,
        caption="Percent of the usual loss's average. error: standard deviation of one cell, by "
        f"{error.source}{_df(error.df)}. margin: a cell so far below the panel's best is shown to be below it "
        "(multiple comparisons with the best, Hsu 1984; 95 % for all cells of a panel together). as good: cells that "
        "are not. The CSV names them.",
    )


def _df(df: float) -> str:
    return f" ({df:.0f} degrees of freedom)" if df < 1e9 else ""


def good_pairs_table(regions: Sequence[PanelRegion]) -> Table:
    """In how many panels each pair is in the region."""
    counts = good_in(regions)
    raw = counts.rename("panels").reset_index().assign(of=len(regions))
    first = raw.head(12)
    return Table(
        key="wit_good_pairs",
        title="Pairs that are as good as the best in most panels",
        raw=raw,
        shown=pd.DataFrame(
            {
                PAIR: [pair_text(pair) for pair in zip(first["prompt_weight"], first["response_weight"], strict=True)],
                "panels": [f"{panels} of {len(regions)}" for panels in first["panels"]],
            }
        ),
        caption=f"Panels in whose region the pair is; the CSV has all {len(raw)} pairs.",
    )


def ratio_table(found: RatioGains) -> Table:
    """Scores by λ_p / λ_r alone."""
    raw = pd.DataFrame([vars(row) for row in found.rows])
    shown = pd.DataFrame(
        {
            "λ_p / λ_r": raw["ratio"].map(lambda value: f"{value:.3g}"),
            "share of the prompt": raw["share"].map(lambda value: number(value, 2)),
            "cells": raw["cells"].astype(str),
            "gain": raw["mean"].map(lambda value: number(value, 2)),
            "interval": [interval_text(row.low, row.high) for row in found.rows],
            "corrected p": raw["p_holm"].map(p_value),
        }
    )
    return Table(
        key="wit_ratios",
        title="Scores by ratio alone",
        raw=raw,
        shown=shown,
        caption="Percent over the cells with λ_p = 0, cells of one ratio averaged, mean over panels. 95 % interval "
        f"{found.over}, each for itself; p is corrected for {len(raw)} ratios (Holm).",
    )


def magnitude_table(test: MagnitudeTest) -> Table:
    """Whether the magnitude matters beside the ratio."""
    raw = pd.DataFrame([vars(test)])
    return Table(
        key="wit_magnitude",
        title="Does the magnitude matter beside the ratio?",
        raw=raw,
        shown=pd.DataFrame(
            {
                "F": [number(test.f, 2)],
                "degrees of freedom": [f"{test.df1}, {test.df2}"],
                "p": [p_value(test.p)],
                "p by permutation": [p_value(test.p_permuted)],
                "spread, percent": [number(test.spread, 2)],
            }
        ),
        caption=f"F test of the pairs within {test.ratios} ratios of two cells or more, against how they differ from "
        f"panel to panel ({test.panels} panels). By permutation: the cells of one ratio are exchanged within each "
        "panel. spread: standard deviation of the pairs' true effects within a ratio that the data speak for.",
    )


def surface_table(surfaces: Sequence[WeightSurface]) -> Table:
    """The top of each surface, and its gain."""
    rows = []
    for surface in surfaces:
        intervals = surface.interval()
        row: dict[str, object] = {
            "scope": surface.scope, "units": surface.units, "samples": ", ".join(surface.samples), "df": surface.df,
            "prompt_weight": surface.top[0], "response_weight": surface.top[1], "explained": surface.explained,
        }  # fmt: skip
        for name, (low, high) in intervals.items():
            row |= {f"{name}_low": low, f"{name}_high": high}
        for pair in (CONVENTIONAL, UNWEIGHTED):
            gain = surface.gain_over(pair)
            own = f"gain_{pair[0]:g}_{pair[1]:g}"
            row |= {own: gain.gain, f"{own}_low": gain.low, f"{own}_high": gain.high}
            row |= {f"{own}_low_chosen": gain.low_chosen, f"{own}_high_chosen": gain.high_chosen}
            row[f"{own}_excluded"] = gain.excluded
        rows.append(row)
    raw = pd.DataFrame(rows)
    return Table(
        key="wit_surface",
        title="Response surface",
        raw=raw,
        shown=pd.DataFrame(
            {
                "benchmarks": raw["scope"],
                "top (λ_p, λ_r)": [
                    pair_text((round(top[0], 2), round(top[1], 2))) for top in (surface.top for surface in surfaces)
                ],
                "interval of λ_p": [interval_text(*surface.interval()["λ_p"]) for surface in surfaces],
                "of λ_r": [interval_text(*surface.interval()["λ_r"]) for surface in surfaces],
                "of the share": [interval_text(*surface.interval()["share"]) for surface in surfaces],
                "over (0, 1)": [_gain(surface, CONVENTIONAL) for surface in surfaces],
                "over (1, 1)": [_gain(surface, UNWEIGHTED) for surface in surfaces],
                "explained": raw["explained"].map(lambda value: f"{value:.0%}"),
            }
        ),
        caption="Score = level of each benchmark in each panel + a parabola in λ_p and λ_r, whose coefficients vary "
        "over benchmarks, base models and datasets at random, where there are three or more of them. λ_r = 0 is left "
        "out. top: the highest place within the grid's weights, with a 95 % interval of surfaces drawn around the "
        "fitted one. Gains in points (of 100), 95 % simultaneous over all places, because the top was chosen; the CSV "
        "has those of the place alone. explained: share of the variance of the pairs' means.",
    )


def _gain(surface: WeightSurface, pair: tuple[float, float]) -> str:
    gain = surface.gain_over(pair)
    if surface.top == pair:
        return "the top itself"
    return f"{gain.gain:z.2f} ({interval_text(gain.low_chosen, gain.high_chosen)})"


def choice_table(choices: Sequence[HeldOutGain]) -> Table:
    """What each rule gains where it was made, and where it was not."""
    raw = pd.DataFrame([vars(choice) for choice in choices])
    shown = pd.DataFrame(
        {
            "rule": raw["rule"],
            "left out of the choice": raw["left_out"],
            "mean gain": raw["mean"].map(lambda value: number(value, 2)),
            "interval": [interval_text(choice.low, choice.high) for choice in choices],
            "median": raw["median"].map(lambda value: number(value, 2)),
            "above (0, 1)": [f"{choice.wins} of {choice.panels}" for choice in choices],
        }
    )
    return Table(
        key="wit_choice",
        title="The best of all pairs, corrected for the choice",
        raw=raw,
        shown=shown,
        caption="Percent of the usual loss's average. A pair that is measured where it was chosen gains by luck too; "
        "the other rows choose without the base model, dataset or benchmark that they are measured on. For benchmarks: "
        "points on each, by the pair that the others choose, summed. 95 % interval with base models and datasets drawn "
        "anew.",
    )


def correlations_table(found: Correlations) -> Table:
    """Rank correlations of the best weights."""
    raw = pd.DataFrame([vars(row) for row in found.rows])
    shown = pd.DataFrame(
        {
            "best": raw["target"],
            "with": raw["covariate"],
            "ρ": raw["rho"].map(lambda value: number(value, 2)),
            "points": [count(row.points, NAME_OF_LEVEL[row.level]) for row in found.rows],
            "p": raw["p"].map(p_value),
            "smallest p possible": raw["smallest_p"].map(p_value),
        }
    )
    return Table(
        key="wit_correlations",
        title="What the best weights go with",
        raw=raw,
        shown=shown,
        caption="Spearman's ρ over datasets, mean of the base models (or over base models, mean of the datasets). p by "
        "permutation of whole datasets (base models), not corrected for the number of rows. With few points p cannot "
        "be small; what it can be at the least is in the last column.",
    )


def share_verdicts_table(verdicts: Sequence[ScopeVerdict]) -> Table:
    """Verdicts by kind of benchmark over the prompt's share."""
    raw = pd.DataFrame([verdict.to_dict() for verdict in verdicts])
    kinds = [verdict for verdict in verdicts if verdict.scope != VerdictScope.BENCHMARK]
    shown = pd.DataFrame(
        {
            "dataset": [verdict.dataset for verdict in kinds],
            "benchmarks": [f"{verdict.name.replace('_', ' ')} ({verdict.benchmarks})" for verdict in kinds],
            "moved": [_moved(verdict) for verdict in kinds],
            f"at {share_start(verdicts)}": [number(_points(verdict.at_0, verdict), 1) for verdict in kinds],
            "at its best": [number(_points(verdict.at_best, verdict), 1) for verdict in kinds],
            "best share": [number(verdict.best_weight, 2) for verdict in kinds],
            "interval": [interval_text(verdict.best_low, verdict.best_high) for verdict in kinds],
            "excluded beyond": [number(_points(verdict.excluded, verdict), 1) for verdict in kinds],
            "corrected p": [p_value(verdict.p_holm) for verdict in kinds],
        }
    )
    return Table(
        key="wit_share_verdicts",
        title="Verdicts by kind of benchmark",
        raw=raw,
        shown=shown,
        caption="Scores (of 100) over the prompt's share λ_p / (λ_p + λ_r), cells of one ratio averaged, λ_r = 0 left "
        "out. excluded beyond: points of change from "
        f"{share_start(verdicts)}, at any share, that the data exclude. The CSV has single benchmarks too.",
    )


def share_start(verdicts: Sequence[ScopeVerdict]) -> str:
    """What the differences of verdicts over the prompt's share are from."""
    return "the smallest share" if any(verdict.from_weight for verdict in verdicts) else "λ_p = 0"


def _moved(verdict: ScopeVerdict) -> str:
    if verdict.p_holm is None:
        return "the same scores" if verdict.same else "too few cells"
    return "not shown" if not verdict.moved else verdict.direction or "not in its mean"


def _points(value: float | None, verdict: ScopeVerdict) -> float | None:
    return None if value is None else 100 * value / verdict.scale
