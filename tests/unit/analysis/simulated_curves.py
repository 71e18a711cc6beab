"""Scores around a parabola in the weight, by base model and seed, and the curve that is fitted to them."""

import numpy as np
import pandas as pd

from analysis.inference.weight_curve import WeightCurve, fit_curve
from analysis.scores.frame import EXPONENT

WEIGHTS = (0.0, 0.01, 0.05, 0.2, 1.0)


def rows(
    bases: int, seeds: int = 1, *, curve: tuple[float, float] = (0.0, 0.0), slope_sd: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """Scores of base models x seeds x weights around a parabola; each base may have a slope of its own."""
    generator, w_W = np.random.default_rng(seed), np.array(WEIGHTS) ** EXPONENT
    level_GR1 = 0.5 + generator.normal(0, 0.05, size=(bases, seeds, 1))
    slope_G11 = curve[0] + generator.normal(0, slope_sd, size=(bases, 1, 1))
    score_GRW = level_GR1 + slope_G11 * w_W + curve[1] * w_W**2
    score_GRW += generator.normal(0, 0.01, size=score_GRW.shape)
    base_N = [f"base {base}" for base in range(bases) for _ in range(seeds * len(w_W))]
    run_N = [f"base {base} {run}" for base in range(bases) for run in range(seeds) for _ in w_W]
    w_N = np.tile(w_W, bases * seeds)
    return pd.DataFrame({"score": score_GRW.ravel(), "w": w_N, "base": base_N, "run": run_N})


def fitted(table: pd.DataFrame) -> WeightCurve:
    found = fit_curve(table["score"].to_numpy(), table["w"].to_numpy(), list(table["base"]), list(table["run"]))
    assert found is not None
    return found
