"""A mixed model of single items, Gaussian or (right or wrong alone) binomial with a logit, by R's lme4.

An answer depends on the weight's curve (w_p and w_p^2, fixed) and on random levels: of the item, of the item for each
base model, of the base model, of the cell. Items and base models may differ in how far the weight moves them (a random
slope in w_p), and so may benchmarks, in both terms, where the model is of several. Source: Baayen, Davidson and Bates
2008 (crossed random effects); Barr and others 2013 (random slopes of whatever is a sample).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from analysis.arrays import Array
from analysis.glmm.inference import ChiSquareTest, chi_square
from analysis.inference.item_rows import ItemRows, codes
from analysis.inference.weight_curve import SAMPLE_OF_BASES, WeightCurve
from analysis.levels import CONFIDENCE
from analysis.r_bridge import R_SCRIPTS, r_has, run_r
from analysis.scores.frame import weight_from_scale
from plw.errors import UserError

ITEMS_SCRIPT = R_SCRIPTS / "items.R"

BINOMIAL, GAUSSIAN = "binomial", "gaussian"
CELLS_OF_SLOPES = 6
"""An item answered in fewer cells cannot tell its own slope from chance."""
STEADY = 25.0
"""A variance over items on the logit scale beyond which answers hardly differ between cells."""
NODES = 40
"""Of the Gauss-Hermite quadrature over the random levels."""


@dataclass(frozen=True, kw_only=True)
class ItemDesign:
    """One model: its rows, formula, and what its tests are over."""

    rows: ItemRows
    family: str
    terms: int
    """Of the curve: 2, or 1 where there are two weights."""
    fixed: tuple[str, ...]
    random: tuple[str, ...]
    over: str
    """What errors are over: ``base model``, ``benchmark``, ``cell``, ``cluster`` or ``item``."""
    df: int
    messages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WeightEffect:
    """Mean value at the largest weight against the smallest, over items and all else that is random."""

    from_weight: float
    to_weight: float
    at_from: float
    at_to: float
    difference: float
    se: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ItemFit:
    """The fitted model; see docs/statistics-items.md."""

    design: ItemDesign
    fixed: Mapping[str, float]
    fixed_se: Mapping[str, float]
    covariance_CC: Array
    variances: tuple[Mapping[str, Any], ...]
    """As lme4 lists them: group, one or two of its terms, and their variance or covariance."""
    log_likelihood: float | None
    lrt: ChiSquareTest
    """Likelihood ratio of the curve's terms, as if base models were many."""
    p: float
    """Of a flat curve, by t over the units of ``design.over`` (see ``WeightCurve.p``)."""
    effect: WeightEffect
    singular: bool
    converged: bool
    messages: tuple[str, ...]
    engine: str

    def to_dict(self) -> dict[str, Any]:
        """The numbers; what is unknown is None."""
        rows = self.design.rows
        return {
            "dataset": rows.dataset,
            "benchmarks": list(rows.benchmarks),
            "base_models": list(rows.base_models),
            "family": self.design.family,
            "n": len(rows),
            "items": int(rows.item_N.max()) + 1,
            "cells": int(rows.cell_N.max()) + 1,
            "weights": [weight_from_scale(float(w)) for w in rows.weights],
            "formula": " + ".join(["value ~ 1", *self.design.fixed, *self.design.random]),
            "fixed": dict(self.fixed),
            "fixed_se": dict(self.fixed_se),
            "fixed_covariance": self.covariance_CC.tolist(),
            "random": [dict(one) for one in self.variances],
            "log_likelihood": self.log_likelihood,
            "curve": {"p": self.p, "over": self.design.over, "df": self.design.df},
            "lrt": vars(self.lrt),
            "effect": vars(self.effect),
            "singular": self.singular,
            "converged": self.converged,
            "messages": list(self.messages),
            "engine": self.engine,
        }


def make_item_design(rows: ItemRows, family: str | None = None) -> ItemDesign:
    """The model that the rows can hold.

    Args:
        rows: As ``choose_rows`` makes them.
        family: ``gaussian`` or, for values of 0 and 1, ``binomial``; Gaussian by default, for right or wrong too: its
            effect is the difference of the scores, and it holds where answers hardly change between cells.

    Raises:
        UserError: binomial for values that are not all 0 or 1.
    """
    if family == BINOMIAL and not rows.right_or_wrong:
        other = rows.value_N[~np.isin(rows.value_N, (0.0, 1.0))][0]
        raise UserError(f"--family binomial needs values of 0 and 1; one is {other:g}")
    bases, benchmarks = len(rows.base_models), len(rows.benchmarks)
    cells, runs = int(rows.cell_N.max()) + 1, int(rows.run_N.max()) + 1
    items, clusters = int(rows.item_N.max()) + 1, int(rows.cluster_N.max()) + 1
    terms = min(2, len(rows.weights) - 1)
    curve = ("w", "w2")[:terms]
    messages = [f"{rows.dropped} answers without a value are left out"] * bool(rows.dropped)
    of_cells = cells - runs - terms
    sample = bases >= SAMPLE_OF_BASES
    random = ["(1 | base)", "(0 + w | base)"] * sample
    random += ["(1 | run)"] * (runs > bases)
    random += ["(1 | cell)"] * (of_cells >= 1)
    random += ["(1 | item)", *["(0 + w | item)"] * (cells >= CELLS_OF_SLOPES), *["(1 | pair)"] * (bases > 1)]
    # Items of one passage move together: without that slope their change would count as so many independent ones.
    random += ["(1 + w | cluster)"] * (clusters < items)
    if benchmarks > 1:
        random += ["(1 | benchmark)", f"(0 + {' + '.join(curve)} | benchmark)", *["(1 | bb)"] * (bases > 1)]
        random += ["(1 | cb)"] * (of_cells >= 1)
    over, df = "cluster" if clusters < items else "item", clusters - 1
    if sample and bases - 1 <= df:
        over, df = "base model", bases - 1
    elif not sample and of_cells >= 1:
        over, df = ("cell", of_cells) if of_cells <= df else (over, df)
        messages.append(f"{bases} base model{'s' * (bases > 1)}: not a sample; the numbers are of these alone")
    elif not sample:
        messages.append(
            f"too few cells to tell the curve from what cells do by chance; the errors are over {over}s alone"
        )
    if benchmarks > 1 and benchmarks - 1 < df:
        over, df = "benchmark", benchmarks - 1
    return ItemDesign(
        rows=rows, family=family or GAUSSIAN, terms=terms,
        fixed=(*curve, *["half"] * (bases == 2)), random=tuple(random), over=over, df=df, messages=tuple(messages),
    )  # fmt: skip


def fit_items(rows: ItemRows, family: str | None = None) -> ItemFit:
    """Fit the model by lme4.

    Raises:
        UserError: as ``make_item_design``; R or lme4 is not there, or could not fit it.
    """
    fit = fit_item_designs({"items": make_item_design(rows, family)})["items"]
    if isinstance(fit, str):
        raise UserError(fit)
    return fit


def fit_item_designs(designs: Mapping[str, ItemDesign]) -> dict[str, ItemFit | str]:
    """Fit models of one form in one R process; where R could not fit one, the reason stands in its place.

    Raises:
        UserError: R or lme4 is not there, or R failed as a whole.
        ValueError: the models differ in form.
    """
    if not r_has("lme4"):
        raise UserError("a mixed model of items needs Rscript with the packages lme4 and jsonlite")
    forms = {(design.family, design.fixed, design.random) for design in designs.values()}
    if len(forms) != 1:
        raise ValueError(f"{len(forms)} forms of models in one call")
    family, fixed, random = forms.pop()
    tables = [_table(design.rows, number) for number, design in enumerate(designs.values())]
    merged = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    answer = run_r(ITEMS_SCRIPT, [pd.DataFrame(merged)], family, " ".join(fixed), " + ".join(random))
    fits: dict[str, ItemFit | str] = {}
    for number, (name, design) in enumerate(designs.items()):
        told = answer["fits"][str(number)]
        if "fixed" in told and len(told["fixed"]) < 1 + len(fixed):
            fits[name] = "the curve and the base models cannot be told apart: too few weights are common to base models"
        elif "fixed" in told:
            fits[name] = _from_r(design, told, answer["version"])
        else:
            fits[name] = f"R could not fit it: {told['error']}"
    return fits


def _table(rows: ItemRows, number: int) -> dict[str, Array]:
    groups = {
        "base": rows.base_N, "run": rows.run_N, "cell": rows.cell_N, "item": rows.item_N,
        "pair": codes(rows.item_N, rows.base_N), "benchmark": rows.benchmark_N,
        "bb": codes(rows.base_N, rows.benchmark_N), "cb": codes(rows.cell_N, rows.benchmark_N),
        "cluster": rows.cluster_N,
    }  # fmt: skip
    return {
        "fit": np.full(len(rows), number), "value": rows.value_N, "w": rows.w_N, "w2": rows.w_N**2,
        "half": rows.base_N - 0.5, **groups,
    }  # fmt: skip


def _from_r(design: ItemDesign, told: Mapping[str, Any], version: str) -> ItemFit:
    names = ["intercept", *design.fixed]
    fixed_C = np.array([told["fixed"][name] for name in ["(Intercept)", *design.fixed]], dtype=np.float64)
    covariance_CC = np.array(told["covariance"], dtype=np.float64)
    variances = tuple(
        {"group": one["grp"], "term": one.get("var1"), "with": one.get("var2"), "variance": one["vcov"]}
        for one in told["variances"]
    )
    curve = slice(1, 1 + design.terms)
    over_units = WeightCurve(
        at_0=float(fixed_C[0]), slope_C=fixed_C[curve], covariance_CC=covariance_CC[curve, curve], df=design.df,
        over_bases=design.over in ("base model", "benchmark", "cluster"), largest_w=float(design.rows.weights[-1]),
        smallest_w=float(design.rows.weights[0]),
    )  # fmt: skip
    said = [f"lme4: {' '.join(str(line).split())}" for line in told["messages"]]
    zero = sorted({f"{one['group']} ({one['term']})" for one in variances if _is_zero(one)})
    if zero:
        said.insert(0, f"singular: no variance is found over {', '.join(zero)}")
    elif told["singular"]:
        said.insert(0, "singular: two random terms hang together fully")
    if design.family == BINOMIAL and any(one["variance"] > STEADY for one in variances):
        said.insert(
            0,
            "answers hardly change between cells: the binomial likelihood is approximated badly and the interval may "
            "be far too narrow; take the Gaussian family",
        )
    if not told["converged"]:
        said.insert(0, "not converged: the numbers cannot be relied on")
    return ItemFit(
        design=design,
        fixed=dict(zip(names, map(float, fixed_C), strict=True)),
        fixed_se=dict(zip(names, map(float, np.sqrt(np.diag(covariance_CC))), strict=True)),
        covariance_CC=covariance_CC,
        variances=variances,
        log_likelihood=told["log_likelihood"],
        lrt=chi_square(told["lrt_chisq"], design.terms),
        p=over_units.p,
        effect=_effect(design, fixed_C, covariance_CC, variances),
        singular=bool(told["singular"]),
        converged=bool(told["converged"]),
        messages=(*design.messages, *said),
        engine=version,
    )


def _is_zero(one: Mapping[str, Any]) -> bool:
    return one["with"] is None and one["group"] != "Residual" and one["variance"] < 1e-8


def _effect(
    design: ItemDesign, fixed_C: Array, covariance_CC: Array, variances: tuple[Mapping[str, Any], ...]
) -> WeightEffect:
    """The difference of means by the delta method, the variances held as they were found; t with the design's df."""
    place_2 = design.rows.weights[[0, -1]]
    at_2, slope_2C = np.empty(2), np.zeros((2, len(fixed_C)))
    for number, w in enumerate(place_2):
        x_C = np.zeros(len(fixed_C))
        x_C[: 1 + design.terms] = w ** np.arange(1 + design.terms)
        level = float(x_C @ fixed_C)
        if design.family == GAUSSIAN:
            at_2[number], slope_2C[number] = level, x_C
        else:
            at_2[number], slope = _mean_chance(level, _variance_at(float(w), variances))
            slope_2C[number] = slope * x_C
    gradient_C = slope_2C[1] - slope_2C[0]
    se = float(np.sqrt(max(0.0, float(gradient_C @ covariance_CC @ gradient_C))))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, design.df)) * se
    difference = float(at_2[1] - at_2[0])
    value_N = design.rows.value_N
    # t of few units knows no bounds; shares have them, and so has their difference.
    most = 1.0 if ((value_N >= 0) & (value_N <= 1)).all() else np.inf
    return WeightEffect(
        from_weight=weight_from_scale(float(place_2[0])), to_weight=weight_from_scale(float(place_2[1])),
        at_from=float(at_2[0]), at_to=float(at_2[1]), difference=difference, se=se,
        low=max(-most, difference - half), high=min(most, difference + half),
    )  # fmt: skip


def _variance_at(w: float, variances: tuple[Mapping[str, Any], ...]) -> float:
    """Of all random levels together at a weight, on the logit scale."""
    power = {"(Intercept)": 1.0, "w": w, "w2": w * w}
    total = 0.0
    for one in variances:
        if one["with"] is None:
            total += one["variance"] * power[one["term"]] ** 2
        else:
            total += 2 * one["variance"] * power[one["term"]] * power[one["with"]]
    return max(0.0, total)


def _mean_chance(level: float, variance: float) -> tuple[float, float]:
    """Mean of the logistic function over normal random levels, and its slope in ``level``."""
    node_K, weight_K = np.polynomial.hermite_e.hermegauss(NODES)
    chance_K = expit(level + np.sqrt(variance) * node_K)
    share_K = weight_K / weight_K.sum()
    return float(share_K @ chance_K), float(share_K @ (chance_K * (1 - chance_K)))
