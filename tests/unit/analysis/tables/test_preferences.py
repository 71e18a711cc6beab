"""The table of preferences: a row for each dataset and pair of weights, means over models; none without DPO."""

import pandas as pd
import pytest

from analysis.tables.preferences import preferences_table


def rows(dataset: str, model: str, weights: tuple[float, float], **values: float) -> list[dict[str, object]]:
    """The measurements of one cell."""
    prompt, response = weights
    cell = {"dataset": dataset, "model": model, "prompt_weight": prompt, "response_weight": response}
    return [cell | {"benchmark": "preferences", "metric": name, "value": value} for name, value in values.items()]


def test_means_by_dataset_and_both_weights() -> None:
    scores = pd.DataFrame([
        *rows("short", "one", (0.2, 1.0), accuracy=0.5, margin=0.1, chosen_reward=-0.2, loss=0.6),
        *rows("short", "two", (0.2, 1.0), accuracy=1.0, margin=0.3, chosen_reward=0.0, loss=0.5),
        *rows("short", "one", (0.2, 0.4), accuracy=0.25, margin=0.0, chosen_reward=0.0, loss=0.7),
    ])  # fmt: skip
    table = preferences_table(scores)
    assert table is not None
    assert list(table.shown["(λ_p, λ_r)"]) == ["(0.2, 0.4)", "(0.2, 1)"]
    assert list(table.shown["pairs in order"]) == ["0.250", "0.750"]
    assert list(table.raw["loss"]) == pytest.approx([0.7, 0.55])
    assert list(table.raw["cells"]) == [1, 2]


def test_a_study_without_preferences_has_none() -> None:
    other = pd.DataFrame(rows("short", "one", (0.2, 1.0), accuracy=0.5)).assign(benchmark="mmlu")
    assert preferences_table(other) is None
