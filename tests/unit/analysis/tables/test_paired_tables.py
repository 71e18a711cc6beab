"""Tables of paired items: each difference in points under its weight, the noise floor, and what is said of both."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.inference.noise import NOISE_COLUMNS
from analysis.inference.paired_weights import NotCompared, WeightComparison
from analysis.items.compare import Comparison
from analysis.tables.paired import comparisons_table, noise_sentence, noise_table
from analysis.tables.table import Table

KNOWN: dict[str, Any] = {
    "metric": "acc", "n": 100, "clusters": 100, "b": 0.5, "se": 0.01, "low": -1.0, "high": 1.0, "p": 0.5,
    "test": "t", "equivalent": None, "a_low": 0.4, "a_high": 0.6, "b_low": 0.4, "b_high": 0.6, "runs": 1, "over": None,
    "higher_is_better": True, "differing": 1, "only_in_one": 0, "unscored": 0,
}  # fmt: skip


def row(
    benchmark: str,
    weight: float,
    difference: float,
    *,
    dataset: str = "d",
    group: str = "multiple_choice",
    reference: float = 0.0,
    **found: Any,
) -> WeightComparison:
    same = KNOWN | {"a": 0.4567, "p_holm": 0.5, "mde": 0.031, "scale": 1.0} | found
    comparison = Comparison(benchmark=benchmark, difference=difference, **same)
    return WeightComparison(dataset=dataset, group=group, weight=weight, reference=reference, found=comparison)


def lines(table: Table) -> list[list[str]]:
    return [list(map(str, values)) for values in table.shown.itertuples(index=False, name=None)]


def test_a_difference_stands_in_points_under_its_weight_with_its_mark() -> None:
    rows = [
        row("win", 0.1, 12.34, group="long_generation", a=30.0, scale=100.0, mde=2.5),
        row("win", 1.0, -4.0, group="long_generation", a=30.0, scale=100.0, mde=np.inf, p_holm=0.049),
        row("own", 0.1, 0.0, group="mine", mde=np.inf),
        row("arc", 1.0, -0.0123, equivalent=True, mde=0.051),
        row("arc", 0.1, 0.0345, equivalent=True, p_holm=0.01),
        row("arc", 0.1, 0.05, reference=1.0),
        row("arc", 0.1, 0.2, dataset="e"),
    ]
    table = comparisons_table(rows)
    assert list(table.shown) == ["dataset", "benchmark", "PLW 0", "0.1", "1", "detectable", "best over 1"]
    assert lines(table) == [
        ["d", "arc", "45.7", "+3.5*", "-1.2=", "4.1", "+5.0"],
        ["d", "win", "30.0", "+12.3", "-4.0*", "2.5", "–"],
        ["d", "own", "45.7", "+0.0", "–", "–", "–"],
        ["e", "arc", "45.7", "+20.0", "–", "3.1", "–"],
    ]
    assert len(table.raw) == 7
    assert "Difference from PLW 0 in points" in table.caption
    assert "= shown to be within 2 points of PLW 0" in table.caption
    assert "Best over 1: PLW 0.1 on d, chosen on the same scores." in table.caption
    assert "Intervals are over items" in table.caption
    assert "Not compared" not in table.caption


def test_a_length_is_told_as_it_is_and_without_a_best_there_is_no_column() -> None:
    table = comparisons_table([row("tokens", 1.0, -3.21, a=12.5, scale=None, mde=2.0, over="base model")])
    assert list(table.shown) == ["dataset", "benchmark", "PLW 0", "1", "detectable"]
    assert lines(table) == [["d", "tokens", "12.5", "-3.2", "2.0"]]
    assert "Best over 1" not in table.caption
    assert "The base models are taken as a sample of others like them." in table.caption
    mixed = [row("a", 1.0, 0.1, over=over) for over in (None, "training run", "base model")]
    assert "The base models and training runs are taken" in comparisons_table(mixed).caption


def test_what_is_not_compared_is_named_with_its_reason_and_where_it_is_elsewhere() -> None:
    left_out = [
        NotCompared(dataset="d", group="g", weight=weight, reference=0.0, benchmark=name, reason=reason)
        for name, weight, reason in (("bleu", 1.0, "no items"), ("bleu", 0.1, "no items"), ("arc", 0.1, "other items"))
    ]
    caption = comparisons_table([row("arc", 1.0, 0.1)], left_out).caption
    assert caption.endswith(" Not compared: bleu (no items); arc on d at 0.1 against 0 (other items).")


def noise(*rows: tuple[str, str, str, float, float]) -> pd.DataFrame:
    known = [dict(zip(("benchmark", "group", "source", "sd", "floor"), values, strict=True)) for values in rows]
    return pd.DataFrame(known).reindex(columns=list(NOISE_COLUMNS))


def test_the_noise_floor_has_benchmarks_by_group() -> None:
    table = noise_table(noise(
        ("win", "long_generation", "seed", 1.234, 3.421), ("win", "long_generation", "items", 0.5, np.nan),
        ("own", "mine", "seed", 2.0, 5.544), ("piqa", "multiple_choice", "base model", 0.111, 0.25),
        ("arc", "multiple_choice", "seed", 0.0, np.nan),
    ))  # fmt: skip
    assert list(table.shown)[1:3] == ["seed: SD", "seed: floor"]
    assert lines(table) == [
        ["arc", "0.00", "–", "–", "–", "–", "–"],
        ["piqa", "–", "–", "0.11", "0.25", "–", "–"],
        ["win", "1.23", "3.42", "–", "–", "0.50", "–"],
        ["own", "2.00", "5.54", "–", "–", "–", "–"],
    ]


@pytest.mark.parametrize("benchmarks", [1, 3])
def test_the_floors_of_seeds_are_told_from_the_least_to_the_most(benchmarks: int) -> None:
    rows = [("b", "g", "seed", 1.0, 2.24), ("a", "g", "seed", 1.0, 9.96), ("c", "g", "seed", 1.0, 0.51)][:benchmarks]
    said = noise_sentence(noise(*rows, ("d", "g", "seed", 0.0, np.nan), ("e", "g", "items", 0.1, 0.2)))
    ends = "2.2 points (b) to 2.2 points (b)" if benchmarks == 1 else "0.5 points (c) to 10.0 points (a)"
    assert f"differ by up to {ends}: smaller" in said


def test_of_datasets_with_other_smallest_weights_the_column_says_so() -> None:
    rows = [row("arc", 1.0, 0.1), row("arc", 1.0, 0.1, dataset="e", reference=0.1)]
    assert "the smallest weight" in comparisons_table(rows).shown
    assert comparisons_table([replace(one, reference=0.1) for one in rows]).shown.columns[2] == "PLW 0.1"
