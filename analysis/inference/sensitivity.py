"""Does the verdict of Table 3 hang on a choice that the paper leaves open? The same fit under each of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.arrays import Array
from analysis.glmm.design import ORTHOGONAL, RAW, squeeze
from analysis.glmm.fit import GlmmFit, fit_design
from analysis.inference.regression import dataset_design
from analysis.scores.datasets import dataset_order
from plw.errors import UserError

BASELINE = "(y (n - 1) + 0.5) / n"


def _clipped(limit: float) -> Callable[[Array], Array]:
    return lambda score_N: np.clip(score_N, limit, 1 - limit)


def _shrunk(limit: float) -> Callable[[Array], Array]:
    return lambda score_N: limit + (1 - 2 * limit) * score_N


SQUEEZES: Mapping[str, Callable[[Array], Array]] = {
    BASELINE: squeeze,
    "0 and 1 moved by 0.001": _clipped(0.001),
    "0 and 1 moved by 0.01": _clipped(0.01),
    "all shrunk by 0.01": _shrunk(0.01),
}
"""Ways to bring 0 and 1 inside the interval of a beta distribution; the paper does not say its own."""


def sensitivity(rows: pd.DataFrame) -> pd.DataFrame:
    """Fit every dataset under every squeeze and both polynomials.

    Args:
        rows: of a ``TidyFrame``; those without a ``scaled`` score are left out.

    Returns:
        One row a dataset and choice: ``dataset``, ``squeeze``, ``polynomial``, ``normalizer`` (None where the rows do
        not say), ``p`` (Wald), ``p_f``, ``p_lrt``, ``optimum``, ``low``, ``high``, ``converged``, ``random_part``,
        ``messages``. A dataset that cannot be fitted has one row with the reason.
    """
    told: list[dict[str, Any]] = []
    for name in dataset_order(rows["dataset"]):
        of_dataset = rows[rows["dataset"] == name]
        known = of_dataset.dropna(subset=["scaled"])
        found = [str(value) for value in known.get("normalizer", pd.Series(dtype=str)).unique() if value]
        common = {"dataset": str(name), "normalizer": found[0] if len(found) == 1 else None}
        for polynomial in (RAW, ORTHOGONAL):
            for way, squeezed in SQUEEZES.items():
                choice = common | {"squeeze": way, "polynomial": polynomial}
                try:
                    scaled = squeezed(known["scaled"].to_numpy(dtype=float))
                    fit = fit_design(dataset_design(known.assign(scaled=scaled), polynomial))
                except UserError as error:
                    told.append(choice | {"converged": False, "messages": str(error)})
                    continue
                told.append(choice | _verdict(fit))
    columns = ["dataset", "squeeze", "polynomial", "normalizer", "p", "p_f", "p_lrt", "optimum", "low", "high",
               "converged", "random_part", "messages"]  # fmt: skip
    return pd.DataFrame(told, columns=columns)


def _verdict(fit: GlmmFit) -> dict[str, Any]:
    top = fit.optimum
    return {
        "p": fit.wald.p, "p_f": fit.wald_f.p, "p_lrt": fit.lrt.p, "optimum": top.plw, "low": top.low, "high": top.high,
        "converged": fit.converged, "random_part": fit.random_part, "messages": "; ".join(fit.messages),
    }  # fmt: skip
