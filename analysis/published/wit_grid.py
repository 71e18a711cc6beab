"""Scores over pairs of weights by panel, a base model on a dataset: those that the WIT paper prints in its heat maps
(arXiv 2507.07817), and those of a study of one's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.arrays import Array

WIT_GRID = Path(__file__).with_name("wit.csv")
BENCHMARKS = ("MMLU", "BBH", "AlpacaEval", "IFEval", "MTB")
MT_BENCH_NAME, MT_BENCH_SCALE = "MTB", 10.0
"""MT-Bench is printed from 1 to 10; the paper's average takes it from 10 to 100."""
AVERAGE, AFTER_DPO, SENSITIVITY = "avg", "dpo", "posix"
CONVENTIONAL = (0.0, 1.0)
"""(λ_p, λ_r) of the usual loss: the completion alone."""
LossWeights = tuple[float, float]
"""(λ_p, λ_r)."""
PANEL = ["dataset", "model"]
MODEL_PARAMETERS = {
    "Llama-3.2-1B": 1.24e9, "Gemma-2-2B": 2.61e9, "Llama-3.2-3B": 3.21e9, "Mistral-7B": 7.24e9, "Llama-3-8B": 8.03e9,
}  # fmt: skip
"""Of the published grid's base models, as their weights on the hub have it."""
DATASET_RECORDS = {"LIMA": 1_030, "Alpaca-Cleaned": 51_760, "Tulu-v2": 150_000}
"""Records trained on, as the paper has it. Of their generation ratios only that of Alpaca-Cleaned is known."""
KNOWN_RATIOS = {"Alpaca-Cleaned": 7.83}
"""Dataset of the published grid -> R_g, from the PLW paper's Table 1."""
WEIGHT_PAIR = ["prompt_weight", "response_weight"]


@cache
def read_wit_grid() -> pd.DataFrame:
    """One row a printed score of a trained model: benchmark, dataset, model, prompt_weight, response_weight, score.

    MT-Bench's are times 10, as in the paper's average.
    """
    read = pd.read_csv(WIT_GRID)
    trained = read[read["prompt_weight"] != "base"].astype({"prompt_weight": float, "response_weight": float})
    scale = np.where(trained["benchmark"] == MT_BENCH_NAME, MT_BENCH_SCALE, 1.0)
    return trained.assign(score=trained["score"] * scale).reset_index(drop=True)


@dataclass(frozen=True, kw_only=True)
class WeightGrid:
    """Scores of base models and datasets over pairs of weights."""

    scores: pd.DataFrame
    """Columns benchmark, dataset, model, prompt_weight, response_weight, score."""
    benchmarks: tuple[str, ...]
    average: pd.DataFrame
    """What cells are chosen by, laid out as ``panels``."""
    of_seed: pd.DataFrame | None = None
    """The average of each seed, where there are several: a row a panel and seed (dataset, model, seed)."""
    item_error: pd.DataFrame | None = None
    """Standard error of the average over the benchmarks' items, laid out as ``panels``, where it is known."""

    @property
    def gain(self) -> pd.DataFrame:
        """``relative_gain`` of the average."""
        return relative_gain(self.average)


@cache
def published_grid() -> WeightGrid:
    """The paper's, by its own average."""
    scores = read_wit_grid()
    return WeightGrid(scores=scores, benchmarks=BENCHMARKS, average=panels(scores, AVERAGE))


def panels(grid: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """Scores of one benchmark: a row a panel (dataset, model), a column a pair (λ_p, λ_r)."""
    rows = grid[grid["benchmark"] == benchmark]
    return rows.pivot(index=PANEL, columns=WEIGHT_PAIR, values="score")


def true_average(grid: pd.DataFrame, benchmarks: Sequence[str] = BENCHMARKS) -> pd.DataFrame:
    """Mean of the benchmarks, laid out as ``panels``."""
    return sum(panels(grid, name) for name in benchmarks) / len(benchmarks)  # type: ignore[return-value]


def pairs(scores: pd.DataFrame) -> list[LossWeights]:
    """(λ_p, λ_r) of each column."""
    columns: list[Any] = scores.columns.to_list()
    return [(float(prompt), float(response)) for prompt, response in columns]


def best_pairs(scores: pd.DataFrame) -> dict[tuple[str, str], LossWeights]:
    """(dataset, model) -> the pair of the panel's highest score."""
    of_column = pairs(scores)
    panel_names = [(str(dataset), str(model)) for dataset, model in scores.index.to_list()]
    return {name: of_column[column] for name, column in zip(panel_names, scores.to_numpy().argmax(axis=1), strict=True)}


def best_fixed_pair(gain: pd.DataFrame) -> LossWeights:
    """The pair of the highest mean over panels; those without a gain do not count, and one of them must have it."""
    return pairs(gain)[int(gain.dropna().to_numpy().mean(axis=0).argmax())]


def relative_gain(scores: pd.DataFrame) -> pd.DataFrame:
    """Percent that each cell lies above the usual loss of its panel; NaN where the usual loss scores 0."""
    usual = scores[CONVENTIONAL]
    return 100 * (scores.div(usual.where(usual > 0), axis=0) - 1)


def printed_gain() -> pd.DataFrame:
    """``relative_gain`` of the paper's own average."""
    return relative_gain(panels(read_wit_grid(), AVERAGE))


def on_responses(scores: pd.DataFrame) -> pd.DataFrame:
    """The columns with λ_r above 0: training on the prompt alone is another thing, and falls far below the rest."""
    return scores.loc[:, [response > 0 for _, response in pairs(scores)]]


def prompt_share(scores: pd.DataFrame) -> Array:
    """λ_p / (λ_p + λ_r) of each column: what is left where the scale of a loss does not matter; [C]."""
    pairs_C2 = np.array(pairs(scores))
    share_C: Array = np.round(pairs_C2[:, 0] / pairs_C2.sum(axis=1), 6)
    return share_C
