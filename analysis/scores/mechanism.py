"""The four measurements of the mechanism among a study's scores."""

import numpy as np
import pandas as pd

from analysis.scores.frame import VARIANT, TidyFrame

SENSITIVITY_BENCHMARK = "prompt_sensitivity"
"""The benchmark under which the stage `diagnose` leaves POSIX."""

PREFERENCE_BENCHMARK = "preferences"
"""The one under which it leaves how a cell's pairs stand after DPO."""

MECHANISMS = (
    ("loss_rsd", "mean", "Instability of the training loss", "relative standard deviation"),
    ("weight_distance", "l2", "Distance from the base model", "Euclidean distance of weights"),
    ("memorisation", "bleu", "Memorisation of training completions", "corpus BLEU (0–100)"),
    ("generation_length", "tokens", "Length of generated answers", "tokens per answer"),
)
"""Benchmark, metric, panel title and axis of each panel of figure 2."""


def of_variant(scores: pd.DataFrame, frame: TidyFrame) -> pd.DataFrame:
    """The scores of the frame's variant of the loss (response weight, normalizer, scope), headline or not."""
    names = [name for name in VARIANT if name in scores]
    return scores[np.logical_and.reduce([scores[name] == frame.rows[name].iloc[0] for name in names])]
