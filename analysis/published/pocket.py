"""The scores of the pocket study (a real small model on Alpaca's data), where they travel with the package.

`pocket.csv` has the columns of `plw registry export`.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.published.weight_gain import WeightGain, weight_gain
from plw.errors import UserError
from plw.results.score import is_percentage

POCKET = Path(__file__).with_name("pocket.csv")
TRAINING = ["model", "seed", "recipe"]
"""What a training is told apart by from another of the same dataset and weight."""
_NEEDED = (
    *("dataset", *TRAINING, "prompt_weight", "response_weight"),
    *("r_g", "benchmark", "metric", "value", "stderr", "n", "headline"),
)
_CHOICE_TASKS = ("arc", "piqa", "winogrande", "truthful_mc", "truthfulqa_mc", "mmlu")
"""How the names of benchmarks of multiple choice begin; the others are generation."""


def read_pocket(path: Path = POCKET) -> pd.DataFrame | None:
    """Headline scores in points (of 100) at λ_r = 1, with `kind`; None where the file is not there.

    Raises:
        UserError: a column is lacking.
    """
    if not path.is_file():
        return None
    read = pd.read_csv(path)
    lacking = [name for name in _NEEDED if name not in read.columns]
    if lacking:
        raise UserError(f"{path}: no column {lacking[0]}; allowed is what `plw registry export` writes")
    rows = read[read["headline"].astype(str).str.lower().eq("true") & read["response_weight"].eq(1)]
    scale = np.where(rows["metric"].map(is_percentage), 1.0, 100.0)
    choice = rows["benchmark"].str.lower().str.startswith(_CHOICE_TASKS)
    # A score that came without an error is a share of its documents: theirs would be the binomial's.
    share = rows["value"] * scale / 100
    binomial = 100 * np.sqrt((share * (1 - share)).clip(lower=0) / rows["n"])
    return rows.assign(
        value=rows["value"] * scale,
        stderr=(rows["stderr"].astype(float) * scale).fillna(binomial),
        kind=np.where(choice, "multiple choice", "generation"),
    ).reset_index(drop=True)


def pocket_ratios(rows: pd.DataFrame) -> dict[str, float]:
    """Dataset -> its generation ratio."""
    known = rows.dropna(subset=["r_g"]).groupby("dataset")["r_g"].first()
    return {str(name): float(ratio) for name, ratio in known.items() if ratio > 0}


def pocket_gain(rows: pd.DataFrame, dataset: str, kind: str) -> WeightGain | None:
    """The best weight on a dataset; None where there is no weight 0, no other, or no such benchmark.

    Means over the kind's benchmarks; a sample is a base model, seed and recipe that has every weight.
    """
    chosen = rows[rows["dataset"].eq(dataset) & (rows["kind"].eq(kind) if kind != "all" else True)]
    curves = mean_curves(chosen)
    chosen = chosen[[sample in curves.index for sample in chosen[TRAINING].itertuples(index=False, name=None)]]
    if curves.empty or 0.0 not in curves.columns or curves.shape[1] < 2:
        return None
    weights = [weight for weight in map(float, curves.columns) if weight > 0]
    difference_SW = (curves[weights].sub(curves[0.0], axis=0)).to_numpy()
    squares = chosen.assign(square=chosen["stderr"] ** 2).groupby("prompt_weight")["square"].agg(["sum", "size"])
    # Of the mean over benchmarks and samples; errors of weight 0 and of the weight add, as if no item were shared.
    error = np.sqrt(squares["sum"]) / squares["size"]
    error_W = None if chosen["stderr"].isna().any() else np.hypot(error[weights].to_numpy(), error[0.0])
    return weight_gain(difference_SW, weights, error_W)


def mean_curves(rows: pd.DataFrame, over: Iterable[str] = TRAINING) -> pd.DataFrame:
    """Mean over benchmarks: a row a training otherwise the same, a column a weight; those with every weight alone."""
    table = rows.pivot_table(index=list(over), columns="prompt_weight", values="value", aggfunc="mean")
    return table.dropna()
