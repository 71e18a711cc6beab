"""The published grid of WIT by prompt weight alone: what each λ_p / λ_r gains over 0, by kind of task.

AdamW does not feel the scale of a loss, so pairs of one ratio are near-replicates and are averaged. Pairs with λ_p
above λ_r have no prompt weight in [0, 1] and are left out.
"""

from functools import cache

import numpy as np

from analysis.arrays import Array
from analysis.published.weight_gain import WeightGain, weight_gain
from analysis.published.wit_grid import BENCHMARKS, PANEL, pairs, panels, read_wit_grid

ALPACA_CLEANED = "Alpaca-Cleaned"
"""The dataset of WIT whose generation ratio is known: it is PLW's AlpacaDataCleaned."""
KIND_BENCHMARKS: dict[str, tuple[str, ...]] = {
    "all": BENCHMARKS,
    "multiple choice": ("MMLU", "BBH"),
    "generation": ("AlpacaEval", "IFEval", "MTB"),
}
"""Kind of task -> benchmarks. MMLU and BBH are answered by a letter or a word."""


@cache
def wit_curves(benchmarks: tuple[str, ...], dataset: str | None = None) -> tuple[list[float], Array]:
    """Prompt weights from 0, and the mean score of benchmarks at each, [panels, weights].

    Args:
        benchmarks: of the grid.
        dataset: its panels alone; all where None.
    """
    grid = read_wit_grid()
    of_benchmark = [panels(grid, name) for name in benchmarks]
    mean = sum(of_benchmark[1:], of_benchmark[0]) / len(of_benchmark)
    if dataset is not None:
        mean = mean[mean.index.get_level_values(PANEL[0]) == dataset]
    weight_C = np.array([prompt / response if response >= prompt else np.nan for prompt, response in pairs(mean)])
    weights = sorted({round(float(weight), 6) for weight in weight_C if not np.isnan(weight)})
    score_PW = np.stack(
        [mean.to_numpy()[:, np.isclose(weight_C, weight, atol=1e-5)].mean(axis=1) for weight in weights]
    )
    return weights, score_PW.T


def wit_gain(kind: str) -> WeightGain:
    """The best prompt weight on Alpaca-Cleaned for a kind of task; the five base models are the sample."""
    weights, score_PW = wit_curves(KIND_BENCHMARKS[kind], ALPACA_CLEANED)
    return weight_gain(score_PW[:, 1:] - score_PW[:, :1], weights[1:])
