"""The table of a study with preferences: how its pairs stand at the end of DPO, by both weights of the fine-tuning."""

import pandas as pd

from analysis.scores.datasets import dataset_order
from analysis.scores.mechanism import PREFERENCE_BENCHMARK
from analysis.tables.table import Table, number

_BY = ["dataset", "prompt_weight", "response_weight"]
_MEASURED = {
    "accuracy": ("pairs in order", 3),
    "margin": ("margin", 3),
    "chosen_reward": ("chosen reward", 3),
    "loss": ("loss", 4),
}
"""Metric -> name of its column, and decimals."""


def preferences_table(scores: pd.DataFrame) -> Table | None:
    """Means over base models and seeds, by dataset and weights; None where no cell was trained on pairs.

    Args:
        scores: ``Study.scores``.

    Returns:
        ``raw``: dataset, prompt_weight, response_weight, the four measurements, and cells.
    """
    rows = scores[(scores["benchmark"] == PREFERENCE_BENCHMARK) & scores["metric"].isin(list(_MEASURED))]
    if rows.empty:
        return None
    raw = rows.pivot_table(index=_BY, columns="metric", values="value").reindex(columns=list(_MEASURED))
    raw["cells"] = rows[rows["metric"] == "accuracy"].groupby(_BY).size()
    ordered = pd.concat([raw.loc[[name]] for name in dataset_order(rows["dataset"])]).reset_index()
    shown = pd.DataFrame(
        {
            "dataset": ordered["dataset"],
            "(λ_p, λ_r)": [f"({p:g}, {r:g})" for p, r in zip(ordered[_BY[1]], ordered[_BY[2]], strict=True)],
            **{name: [number(value, digits) for value in ordered[key]] for key, (name, digits) in _MEASURED.items()},
        }
    )
    caption = (
        "Means over the last epoch of DPO, over base models and seeds. Pairs in order: share whose chosen answer has "
        "the higher reward. Margin: chosen less rejected reward (beta times the log-ratio to the fine-tuned model, in "
        "nats). A chosen reward below 0: the chosen answers have become less likely too. Loss: nats a pair, 0.6931 at "
        "the start."
    )
    title = "Preferences after the fine-tuning"
    return Table(key="preferences", title=title, raw=ordered, shown=shown, caption=caption)
