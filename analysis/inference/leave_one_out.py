"""What is left of the best weight's lead once it is chosen on other benchmarks than those it is scored on.

The best of ten weights is partly the luckiest: its own scores chose it. Here each benchmark is left out in turn,
the weight is chosen by the aggregate of the others and scored on the one left out. The mean of those scores is what
a reader who chooses a weight in this way may expect on a further benchmark of the kind; the difference is the
optimism. It is a noisy number: where benchmarks want different weights, one of them left out can turn the choice
against itself.
"""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.inference.bootstrap import Cube, score_cube
from analysis.scores.aggregates import AGGREGATE_COLUMNS, comparable, complete_rows, shares
from analysis.scores.frame import TidyFrame

BASELINES = (0.0, 1.0)


def choose_by_others(score_UW: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose for each unit by the mean over the other units; the first of equals.

    Args:
        score_UW: score of unit u (benchmark, base model, ...) under choice c (weight); all known, at least two units.

    Returns:
        For each unit the choice, and the unit's own score under it.

    Raises:
        ValueError: fewer than two units, or a score that is not a number.
    """
    if len(score_UW) < 2 or not np.isfinite(score_UW).all():
        raise ValueError("leaving one unit out needs two units and all their scores")
    others_UW = (score_UW.sum(axis=0) - score_UW) / (len(score_UW) - 1)
    # Sums of the same numbers in another order differ in the last digits, which must not decide between equals.
    choice_U = np.argmax(np.round(others_UW, 12), axis=1)
    return choice_U, score_UW[np.arange(len(score_UW)), choice_U]


def leave_one_out(frame: TidyFrame) -> pd.DataFrame:
    """Best-of-weights and leave-one-benchmark-out choice for every dataset and both aggregates.

    Weights without the base models of the others are left out of the choice (``left_out``, see ``comparable``), because
    their aggregate is of another thing.

    Returns:
        One row per dataset and kind: ``dataset``, ``kind``, ``benchmarks``, ``weights``, ``best_weight`` and ``best``
        (by all benchmarks), ``chosen`` (weight -> how often, as text), ``held_out`` (mean of the scores of the left-out
        benchmarks), ``optimism`` (``best`` - ``held_out``), ``held_out_gain_0`` and ``_1`` over PLW 0 and PLW 1 with
        their standard errors over benchmarks, ``best_gain_0`` and ``_1``. NaN where there are fewer than two benchmarks
        or weights, or no such baseline.
    """
    rows, complete = [], complete_rows(frame)
    for dataset in sorted(set(frame.rows["dataset"])):
        for kind in AGGREGATE_COLUMNS:
            cube = score_cube(complete, dataset, kind)
            score_GW, weight_W = _complete(cube)
            row = {"dataset": dataset, "kind": kind, "benchmarks": len(score_GW), "weights": len(weight_W)}
            rows.append(row | {"left_out": len(cube.weight_W) - len(weight_W)} | _choice(score_GW, weight_W))
    return pd.DataFrame(rows)


def _complete(cube: Cube) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean score of benchmark b at weight c over models and seeds, for the weights that are comparable."""
    known_GWAS = np.isfinite(cube.score_WGAS).swapaxes(0, 1)
    score_GWAS = cube.score_WGAS.swapaxes(0, 1)[known_GWAS.any(axis=(1, 2, 3))]
    if score_GWAS.size == 0:
        return np.empty((0, 0)), np.empty(0)
    known_WAS: NDArray[np.bool_] = np.asarray(np.isfinite(score_GWAS).all(axis=0))
    bases = {
        float(weight): shares(np.nonzero(known_WAS[place])[0].tolist()) for place, weight in enumerate(cube.weight_W)
    }
    full_W = np.isin(cube.weight_W, list(comparable(bases)))
    return np.nanmean(score_GWAS[:, full_W], axis=(2, 3)), cube.weight_W[full_W]


def _choice(score_GW: NDArray[np.float64], weight_W: NDArray[np.float64]) -> dict[str, Any]:
    if len(score_GW) < 2 or len(weight_W) < 2:
        return {}
    mean_W = score_GW.mean(axis=0)
    best = int(np.argmax(np.round(mean_W, 12)))
    choice_G, held_out_G = choose_by_others(score_GW)
    often = Counter(float(weight) for weight in weight_W[choice_G])
    row: dict[str, Any] = {
        "best_weight": float(weight_W[best]),
        "best": float(mean_W[best]),
        "chosen": ", ".join(f"{weight:g} ({number}x)" for weight, number in sorted(often.items())),
        "held_out": float(held_out_G.mean()),
        "optimism": float(mean_W[best] - held_out_G.mean()),
    }
    for baseline in BASELINES:
        at = np.flatnonzero(weight_W == baseline)
        if len(at):
            gain_G = held_out_G - score_GW[:, at[0]]
            row[f"best_gain_{baseline:g}"] = float(mean_W[best] - mean_W[at[0]])
            row[f"held_out_gain_{baseline:g}"] = float(gain_G.mean())
            row[f"held_out_gain_{baseline:g}_se"] = float(gain_G.std(ddof=1) / np.sqrt(len(gain_G)))
    return row
